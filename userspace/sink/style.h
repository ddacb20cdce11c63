// SPDX-License-Identifier: GPL-2.0-only
// Text on its way to a terminal: what came from outside is escaped, columns are counted, and
// styles are put around it.
#pragma once

#include <algorithm>
#include <cstddef>
#include <optional>
#include <string>
#include <string_view>

namespace droptrace {

enum class Style { kPlain, kDim, kReason, kService, kWhere };

// Bytes for the terminal and the columns they take there, counted as one for each character.
struct StyledText {
  std::string bytes;
  std::size_t columns = 0;
};

struct Utf8Character {
  char32_t code_point;
  std::size_t size;  // in bytes
};

// The character that text, which is not empty, begins with; nullopt if it is not UTF-8 (RFC 3629).
inline std::optional<Utf8Character> first_character(std::string_view text) {
  const auto lead = static_cast<unsigned char>(text.front());
  if (lead < 0x80) return Utf8Character{lead, 1};
  const std::size_t size = lead < 0xe0 ? 2 : lead < 0xf0 ? 3 : 4;
  if (lead < 0xc2 || lead > 0xf4 || text.size() < size) return std::nullopt;

  char32_t code_point = lead & 0xffu >> (size + 1);
  for (const char byte : text.substr(1, size - 1)) {
    if ((byte & 0xc0) != 0x80) return std::nullopt;
    code_point = code_point << 6 | (byte & 0x3fu);
  }
  const bool overlong = (size == 3 && code_point < 0x800) || (size == 4 && code_point < 0x10000);
  const bool surrogate = code_point >= 0xd800 && code_point <= 0xdfff;
  if (overlong || surrogate || code_point > 0x10ffff) return std::nullopt;
  return Utf8Character{code_point, size};
}

// True for what a terminal obeys instead of showing it: C0 and C1 controls, DEL, line separators
// and the characters that hide text or reverse its direction.
inline bool drives_terminal(char32_t code_point) {
  static constexpr char32_t kRanges[][2] = {
      {0x00, 0x1f},     {0x7f, 0x9f},     {0xad, 0xad},     {0x61c, 0x61c},
      {0x200b, 0x200f}, {0x2028, 0x202e}, {0x2060, 0x206f}, {0xfeff, 0xfeff},
  };
  return std::ranges::any_of(kRanges, [code_point](const auto& range) {
    return code_point >= range[0] && code_point <= range[1];
  });
}

// text with every byte of such characters, and every byte that is not UTF-8, as \xNN.
inline StyledText escaped(std::string_view text) {
  static constexpr std::string_view kDigits = "0123456789abcdef";
  StyledText result;
  while (!text.empty()) {
    const std::optional<Utf8Character> character = first_character(text);
    const std::string_view bytes = text.substr(0, character ? character->size : 1);
    text.remove_prefix(bytes.size());
    if (character && !drives_terminal(character->code_point)) {
      result.bytes += bytes;
      ++result.columns;
      continue;
    }
    for (const char byte : bytes) {
      const auto value = static_cast<unsigned char>(byte);
      result.bytes.append({'\\', 'x', kDigits[value >> 4], kDigits[value & 0xf]});
      result.columns += 4;
    }
  }
  return result;
}

// Everything that the text log prints goes through a Painter, so that nothing gets by unescaped.
class Painter {
 public:
  // dim: the whole line is of little interest.
  Painter(bool color, bool dim) : color_(color), dim_(dim) {}

  StyledText operator()(std::string_view text, Style style = Style::kPlain) const {
    StyledText result = escaped(text);
    const std::string_view code = sgr(dim_ ? Style::kDim : style);
    if (color_ && !code.empty() && result.columns > 0) {
      result.bytes.insert(0, code).append("\x1b[0m");
    }
    return result;
  }

 private:
  // "Select graphic rendition" sequences of ECMA-48.
  static std::string_view sgr(Style style) {
    switch (style) {
      case Style::kPlain:
        return "";
      case Style::kDim:
        return "\x1b[2m";
      case Style::kReason:
        return "\x1b[1;31m";
      case Style::kService:
        return "\x1b[36m";
      case Style::kWhere:
        return "\x1b[33m";
    }
    return "";
  }

  bool color_;
  bool dim_;
};

}  // namespace droptrace
