#include "core/framing/delimiter.h"

#include <algorithm>
#include <cstring>

namespace iocp {

namespace {

// With fail_fast nobody knows yet where the frame ends. Said even when this slice has the end, so
// that a report does not depend on cuts.
constexpr uint64_t size_not_known = 0;

// How much of an oversize frame is shown. No more than max_packet + 1 bytes are certain to be
// there when it is found out.
size_t shown_bytes(uint64_t max_packet) {
  return static_cast<size_t>(std::min<uint64_t>(FramingOptions::max_header, max_packet + 1));
}

// `wanted` bytes from the front of `before` and, behind it, the slice; both together have them.
void copy_front(uint8_t* to, size_t wanted, const uint8_t* before, size_t before_size, const uint8_t* at) {
  const size_t first = std::min(wanted, before_size);
  if (first != 0) std::memcpy(to, before, first);
  if (wanted != first) std::memcpy(to + first, at, wanted - first);
}

}  // namespace

bool DelimiterFraming::check(const FramingOptions& options, std::string* error) {
  const auto& all = options.delimiters;
  if (all.empty() || all.size() > FramingOptions::max_delimiters) {
    *error = "delimiters must be 1 to " + std::to_string(FramingOptions::max_delimiters) + " sequences";
    return false;
  }
  for (size_t i = 0; i < all.size(); ++i) {
    if (!all[i].empty() && all[i].size() <= FramingOptions::max_delimiter) continue;
    *error = "delimiters[" + std::to_string(i) + "] must have 1 to " + std::to_string(FramingOptions::max_delimiter) +
             " bytes";
    return false;
  }
  for (size_t i = 0; i < all.size(); ++i) {
    for (size_t j = 0; j < all.size(); ++j) {
      const size_t at = all[i].find(all[j]);
      if (at == std::string::npos || at + all[j].size() == all[i].size()) continue;
      *error = "delimiters[" + std::to_string(i) + "] can never be found: delimiters[" + std::to_string(j) +
               "] ends inside it";
      return false;
    }
  }
  return true;
}

DelimiterFraming::DelimiterFraming(const FramingOptions& options)
    : Framing(options.type_byte),
      limits_(options),
      delimiters_(options.delimiters),
      by_length_(options.delimiters),
      strip_(options.strip_delimiter) {
  std::stable_sort(by_length_.begin(), by_length_.end(),
                   [](const std::string& a, const std::string& b) { return a.size() > b.size(); });
  longest_ = static_cast<uint32_t>(by_length_.front().size());
  shortest_ = static_cast<uint32_t>(by_length_.back().size());
  for (const std::string& delimiter : by_length_) {
    is_last_byte_[static_cast<uint8_t>(delimiter.back())] = true;
    if (delimiter.back() != by_length_.front().back()) one_last_byte_ = false;
  }
}

uint32_t DelimiterFraming::ends_at(const uint8_t* before, size_t before_size, const FrameInput& in, size_t last) const {
  const size_t end = last + 1;
  for (const std::string& delimiter : by_length_) {
    const size_t size = delimiter.size();
    if (size <= end) {
      if (std::memcmp(in.at + (end - size), delimiter.data(), size) != 0) continue;
    } else {
      const size_t missing = size - end;
      if (missing > before_size) continue;
      if (std::memcmp(in.at, delimiter.data() + missing, end) != 0) continue;
      if (std::memcmp(before + (before_size - missing), delimiter.data(), missing) != 0) continue;
    }
    return static_cast<uint32_t>(size);
  }
  return 0;
}

bool DelimiterFraming::find(const uint8_t* before, size_t before_size, FrameInput in, Match* out) const {
  const auto only = static_cast<uint8_t>(by_length_.front().back());
  for (size_t i = 0; i < in.left; ++i) {
    if (one_last_byte_) {
      const void* hit = std::memchr(in.at + i, only, in.left - i);
      if (hit == nullptr) return false;
      i = static_cast<size_t>(static_cast<const uint8_t*>(hit) - in.at);
    } else if (!is_last_byte_[in.at[i]]) {
      continue;
    }
    const uint32_t length = ends_at(before, before_size, in, i);
    if (length == 0) continue;
    *out = {i + 1, length};
    return true;
  }
  return false;
}

DecodeResult DelimiterFraming::decode(FrameState& state, const uint8_t* data, size_t size, FrameSink& sink) const {
  if (state.phase() == FrameState::Phase::failed) return {0, state.error()};
  FrameInput in{data, size};
  FrameFlow flow = FrameFlow::go_on;
  while (flow == FrameFlow::go_on && in.left != 0) {
    flow =
        state.phase() == FrameState::Phase::discard ? go_on_discard(state, &in, sink) : go_on_frame(state, &in, sink);
  }
  return {size - in.left, flow == FrameFlow::failed ? state.error() : FrameError::none};
}

FrameFlow DelimiterFraming::go_on_frame(FrameState& state, FrameInput* in, FrameSink& sink) const {
  // With this many bytes and no delimiter, whatever comes starts beyond max_packet.
  const uint64_t most = limits_.max_packet + longest_;
  const size_t held = state.held_size();
  const auto scanned = static_cast<size_t>(std::min<uint64_t>(in->left, most - held));
  Match match;
  if (!find(state.held(), held, {in->at, scanned}, &match)) {
    if (held + scanned == most) return oversize(state, in, nullptr, scanned, sink);
    if (!state.hold(in->at, scanned, most)) {
      state.fail(FrameError::out_of_memory, state.held(), std::min<size_t>(held, 16));
      return FrameFlow::failed;
    }
    state.enter(FrameState::Phase::body);
    in->take(scanned);
    return FrameFlow::go_on;
  }

  const size_t frame = held + match.end;
  if (frame - match.length > limits_.max_packet) {
    return oversize(state, in, &match, match.end, sink);
  }
  const size_t packet = strip_ ? frame - match.length : frame;
  if (held == 0) {
    const uint8_t* at = in->at;
    in->take(match.end);
    return sink.on_packet(at, packet) ? FrameFlow::go_on : FrameFlow::stop;
  }
  // A stripped delimiter that began in the last slice leaves nothing to add.
  if (packet > held && !state.hold(in->at, packet - held, most)) {
    state.fail(FrameError::out_of_memory, state.held(), std::min<size_t>(held, 16));
    return FrameFlow::failed;
  }
  in->take(match.end);
  GatheredPacket whole;
  state.release(&whole);
  return sink.on_packet(whole.data(), packet) ? FrameFlow::go_on : FrameFlow::stop;
}

FrameFlow DelimiterFraming::oversize(FrameState& state, FrameInput* in, const Match* match, size_t scanned,
                                     FrameSink& sink) const {
  uint8_t header[FramingOptions::max_header];
  const size_t header_size = shown_bytes(limits_.max_packet);
  const size_t held = state.held_size();
  copy_front(header, header_size, state.held(), held, in->at);
  if (limits_.on_oversize == OnOversize::close) {
    state.fail(FrameError::too_large, header, header_size);
    return FrameFlow::failed;
  }

  const uint64_t gone = uint64_t{held} + scanned;
  if (match != nullptr) {
    state.reset();
    in->take(scanned);
    sink.on_discarded(limits_.fail_fast ? size_not_known : gone, header, header_size);
    return FrameFlow::go_on;
  }
  // The end of what goes by is kept, since a delimiter may have begun in it.
  uint8_t tail[FramingOptions::max_delimiter];
  const size_t keep = longest_ - 1;
  const size_t from_slice = std::min(keep, scanned);
  const size_t from_held = keep - from_slice;
  if (from_held != 0) std::memcpy(tail, state.held() + (held - from_held), from_held);
  if (from_slice != 0) std::memcpy(tail + from_held, in->at + (scanned - from_slice), from_slice);
  state.keep_header(header, header_size);
  if (!state.keep_tail(tail, keep, keep)) {
    state.fail(FrameError::out_of_memory, header, header_size);
    return FrameFlow::failed;
  }
  state.enter(FrameState::Phase::discard);
  state.set_left(gone);
  in->take(scanned);
  if (limits_.fail_fast) sink.on_discarded(size_not_known, header, header_size);
  return FrameFlow::go_on;
}

// left() counts the bytes of the frame that have gone by.
FrameFlow DelimiterFraming::go_on_discard(FrameState& state, FrameInput* in, FrameSink& sink) const {
  Match match;
  if (!find(state.held(), state.held_size(), *in, &match)) {
    state.keep_tail(in->at, in->left, longest_ - 1);
    state.set_left(state.left() + in->left);
    in->take(in->left);
    return FrameFlow::go_on;
  }
  uint8_t header[FramingOptions::max_header];
  const size_t header_size = state.kept_header_size();
  std::memcpy(header, state.kept_header(), sizeof(header));
  const uint64_t frame = state.left() + match.end;
  state.reset();
  in->take(match.end);
  if (!limits_.fail_fast) sink.on_discarded(frame, header, header_size);
  return FrameFlow::go_on;
}

bool DelimiterFraming::encode(uint64_t payload_size, FrameEnvelope* out) const {
  if (payload_size > max_payload() || (!strip_ && payload_size < shortest_)) return false;
  set_trailer(delimiters_.front(), out);
  return true;
}

void DelimiterFraming::set_trailer(const std::string& delimiter, FrameEnvelope* out) const {
  out->header_size = 0;
  out->trailer = strip_ ? reinterpret_cast<const uint8_t*>(delimiter.data()) : nullptr;
  out->trailer_size = strip_ ? static_cast<uint32_t>(delimiter.size()) : 0;
}

// Unstripped packets bring their delimiter along, in both directions.
uint64_t DelimiterFraming::max_payload() const { return strip_ ? limits_.max_packet : limits_.max_packet + longest_; }

bool DelimiterFraming::wrap(const uint8_t* payload, size_t size, FrameEnvelope* out) const {
  if (!encode(size, out)) return false;
  Match match;
  const bool found = find(nullptr, 0, {payload, size}, &match);
  if (!strip_) return found && match.end == size && size - match.length <= limits_.max_packet;
  if (found) return false;
  // With the payload's end a delimiter may make an earlier or a longer one ("a\r" and "\n"). A packet that
  // was decoded had one behind it that does not, so another of the list does for it.
  for (const std::string& delimiter : delimiters_) {
    const FrameInput trailer{reinterpret_cast<const uint8_t*>(delimiter.data()), delimiter.size()};
    if (!find(payload, size, trailer, &match)) continue;
    if (match.end != delimiter.size() || match.length != delimiter.size()) continue;
    set_trailer(delimiter, out);
    return true;
  }
  return false;
}

}  // namespace iocp
