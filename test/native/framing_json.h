#pragma once

#include <map>
#include <memory>
#include <string>
#include <vector>

namespace framing_test {

// As much of JSON as test/vectors needs: a number stays the text that it is.
struct Json {
  enum class Type { null, boolean, number, string, array, object };

  Type type = Type::null;
  std::string text;  // of a number, a string, "true" or "false"
  std::vector<Json> items;
  std::map<std::string, Json> members;

  bool has(const std::string& name) const { return members.count(name) != 0; }
  const Json& operator[](const std::string& name) const;

  // A number, or a string such as "0x10".
  unsigned long long unsigned_value() const;
  long long signed_value() const;
  bool is_true() const { return type == Type::boolean && text == "true"; }
};

// Type null when the text is no JSON.
Json parse_json(const std::string& text);

}  // namespace framing_test
