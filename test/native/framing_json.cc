#include "framing_json.h"

#include <cctype>
#include <cstdlib>

namespace framing_test {

namespace {

struct Parser {
  const std::string& text;
  size_t at = 0;
  bool good = true;

  char peek() {
    while (at < text.size() && std::isspace(static_cast<unsigned char>(text[at])) != 0) ++at;
    return at < text.size() ? text[at] : '\0';
  }

  bool take(char wanted) {
    if (peek() != wanted) return false;
    ++at;
    return true;
  }

  void want(char wanted) {
    if (!take(wanted)) good = false;
  }

  std::string string() {
    want('"');
    std::string out;
    while (good && at < text.size() && text[at] != '"') {
      if (text[at] == '\\') ++at;  // only \" and \\ are in use
      if (at < text.size()) out += text[at++];
    }
    want('"');
    return out;
  }

  Json value() {
    Json out;
    const char first = peek();
    if (first == '{') {
      out.type = Json::Type::object;
      ++at;
      if (take('}')) return out;
      do {
        peek();
        const std::string name = string();
        want(':');
        out.members[name] = value();
      } while (good && take(','));
      want('}');
    } else if (first == '[') {
      out.type = Json::Type::array;
      ++at;
      if (take(']')) return out;
      do out.items.push_back(value());
      while (good && take(','));
      want(']');
    } else if (first == '"') {
      out.type = Json::Type::string;
      out.text = string();
    } else {
      while (at < text.size() && (std::isalnum(static_cast<unsigned char>(text[at])) != 0 || text[at] == '-' ||
                                  text[at] == '+' || text[at] == '.')) {
        out.text += text[at++];
      }
      if (out.text == "true" || out.text == "false") {
        out.type = Json::Type::boolean;
      } else if (out.text != "null") {
        out.type = Json::Type::number;
        good = good && !out.text.empty();
      }
    }
    return out;
  }
};

}  // namespace

const Json& Json::operator[](const std::string& name) const {
  static const Json none;
  const auto found = members.find(name);
  return found == members.end() ? none : found->second;
}

unsigned long long Json::unsigned_value() const { return std::strtoull(text.c_str(), nullptr, 0); }

long long Json::signed_value() const { return std::strtoll(text.c_str(), nullptr, 0); }

Json parse_json(const std::string& text) {
  Parser parser{text};
  Json out = parser.value();
  const bool all = parser.peek() == '\0';
  return parser.good && all ? out : Json{};
}

}  // namespace framing_test
