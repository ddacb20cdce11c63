// SPDX-License-Identifier: GPL-2.0-only
#include "core/nft_expression.h"

#include <netinet/in.h>

// Behind netinet/in.h, whose types it defines where nobody has yet.
#include <linux/netfilter.h>

#include <algorithm>
#include <iterator>
#include <limits>

#include <fmt/format.h>

#include "core/rule_values.h"

namespace droptrace {
namespace {

using Json = nlohmann::json;

constexpr int kDepthMax = 8;  // of expressions inside each other; nft prints two or three

Operand payload_operand(std::string_view protocol, std::string_view field) {
  if (protocol == "ip" || protocol == "ip6") {
    const auto nfproto = static_cast<std::uint8_t>(protocol == "ip" ? NFPROTO_IPV4 : NFPROTO_IPV6);
    if (field == "saddr") return {Field::kSrc, 0, nfproto};
    if (field == "daddr") return {Field::kDst, 0, nfproto};
    if (field == "protocol") return {Field::kL4proto, 0, nfproto};
    return {Field::kUnknown, 0, nfproto};
  }
  if (protocol == "th") {
    if (field == "sport") return {Field::kSrcPort};
    return {field == "dport" ? Field::kDstPort : Field::kUnknown};
  }
  const auto number = protocol_of_text(protocol);
  if (!number) return {};
  if (field == "sport") return {Field::kSrcPort, *number};
  if (field == "dport") return {Field::kDstPort, *number};
  if (*number == IPPROTO_TCP && field == "flags") return {Field::kTcpFlags, *number};
  const bool icmp = *number == IPPROTO_ICMP || *number == IPPROTO_ICMPV6;
  if (icmp && field == "type") return {Field::kIcmpType, *number};
  if (icmp && field == "code") return {Field::kIcmpCode, *number};
  return {Field::kUnknown, *number};
}

struct NamedField {
  std::string_view name;
  Field field;
};

constexpr NamedField kMetaKeys[] = {
    {"iifname", Field::kInName},   {"oifname", Field::kOutName}, {"iif", Field::kInName},
    {"oif", Field::kOutName},      {"nfproto", Field::kNfproto}, {"l4proto", Field::kL4proto},
    {"skuid", Field::kSocketUser}, {"mark", Field::kMark},
};
constexpr NamedField kCtKeys[] = {
    {"state", Field::kCtState},
    {"status", Field::kCtStatus},
    {"direction", Field::kCtDirection},
};
// What a set may hold, by the name of its type: any field that has such values will do.
constexpr NamedField kSetTypes[] = {
    {"ipv4_addr", Field::kSrc},        {"ipv6_addr", Field::kSrc},
    {"inet_proto", Field::kL4proto},   {"inet_service", Field::kSrcPort},
    {"ifname", Field::kInName},        {"mark", Field::kMark},
    {"ct_state", Field::kCtState},     {"ct_status", Field::kCtStatus},
    {"nf_proto", Field::kNfproto},     {"iface_index", Field::kInName},
    {"fib_addrtype", Field::kSrcType},
};

template <std::size_t Size>
Field find_field(const NamedField (&names)[Size], std::string_view name) {
  const auto* const found = std::ranges::find(names, name, &NamedField::name);
  return found == std::end(names) ? Field::kUnknown : found->field;
}

Field fib_field(const Json& fib) {
  const auto* const flags = list_of(member(fib, "flags"));
  if (text_of(fib, "result") != "type" || !flags || flags->size() != 1) return Field::kUnknown;
  if (flags->front() == "daddr") return Field::kDstType;
  return flags->front() == "saddr" ? Field::kSrcType : Field::kUnknown;
}

std::optional<Key> address_key_of(std::string_view text) {
  const auto address = parse_address(text);
  if (!address) return std::nullopt;
  return address_key(*address);
}

template <typename Number>
std::optional<Key> key_of_number(const std::optional<Number>& number) {
  if (!number) return std::nullopt;
  return number_key(*number);
}

// A word as a value of the operand's field; nullopt if we do not know it.
std::optional<Key> key_of_word(std::string_view word, const Operand& operand) {
  switch (operand.field) {
    case Field::kInName:
    case Field::kOutName:
      return name_key(word);
    case Field::kSrc:
    case Field::kDst:
      return address_key_of(word);
    case Field::kL4proto:
      return key_of_number(protocol_of_text(word));
    case Field::kNfproto:
      if (word == "ipv4") return number_key(NFPROTO_IPV4);
      if (word == "ipv6") return number_key(NFPROTO_IPV6);
      return std::nullopt;
    case Field::kIcmpType:
      return key_of_number(icmp_type_of_text(word, operand.protocol));
    case Field::kSrcType:
    case Field::kDstType:
      return key_of_number(address_type_of_text(word));
    case Field::kCtDirection:
      if (word == "original") return number_key(0);
      if (word == "reply") return number_key(1);
      return std::nullopt;
    default:
      return std::nullopt;
  }
}

std::optional<Key> key_of(const Json& value, const Operand& operand) {
  if (value.is_number_unsigned()) return number_key(value.get<std::uint64_t>());
  if (const auto bits = bits_of(value, operand)) return number_key(*bits);
  if (!value.is_string()) return std::nullopt;
  return key_of_word(text_of(&value), operand);
}

std::optional<Range> prefix_range(const Json& prefix) {
  const auto address = parse_address(text_of(prefix, "addr"));
  const Json* const length = member(prefix, "len");
  if (!address || !length || !length->is_number_unsigned()) return std::nullopt;
  const auto cidr =
      parse_cidr(fmt::format("{}/{}", to_string(*address), length->get<std::uint64_t>()));
  if (!cidr) return std::nullopt;
  return cidr_range(*cidr);
}

bool is_name(const Operand& operand) {
  return operand.field == Field::kInName || operand.field == Field::kOutName;
}

}  // namespace

const Json* member(const Json& object, const char* key) {
  const auto found = object.find(key);
  return found == object.end() ? nullptr : &*found;
}

std::string_view text_of(const Json* value) {
  const auto* const text = value ? value->get_ptr<const std::string*>() : nullptr;
  return text ? std::string_view(*text) : std::string_view();
}

std::string_view text_of(const Json& object, const char* key) {
  return text_of(member(object, key));
}

const Json::array_t* list_of(const Json* value) {
  return value ? value->get_ptr<const Json::array_t*>() : nullptr;
}

const Json* only_member(const Json& object, std::string_view& key) {
  if (!object.is_object() || object.size() != 1) return nullptr;
  key = object.begin().key();
  return &object.begin().value();
}

std::optional<std::uint32_t> bits_of(const Json& value, const Operand& operand, int depth) {
  if (depth > kDepthMax) return std::nullopt;
  if (value.is_number_unsigned()) {
    const auto number = value.get<std::uint64_t>();
    if (number > std::numeric_limits<std::uint32_t>::max()) return std::nullopt;
    return static_cast<std::uint32_t>(number);
  }
  if (value.is_string()) {
    if (operand.field == Field::kTcpFlags) return tcp_flag_of_text(text_of(&value));
    if (operand.field == Field::kCtState) return ct_state_of_text(text_of(&value));
    if (operand.field == Field::kCtStatus) return ct_status_of_text(text_of(&value));
    return std::nullopt;
  }
  const Json::array_t* list = list_of(&value);
  if (!list && value.is_object()) list = list_of(member(value, "|"));
  if (!list) return std::nullopt;
  std::uint32_t bits = 0;
  for (const Json& each : *list) {
    const auto more = bits_of(each, operand, depth + 1);
    if (!more) return std::nullopt;
    bits |= *more;
  }
  return bits;
}

Operand operand_of(const Json& expression, int depth) {
  std::string_view kind;
  const Json* const inside = only_member(expression, kind);
  if (!inside || depth > kDepthMax) return {};
  if (kind == "meta") return {find_field(kMetaKeys, text_of(*inside, "key"))};
  if (kind == "payload")
    return payload_operand(text_of(*inside, "protocol"), text_of(*inside, "field"));
  // With a direction it is a field of the connection.
  if (kind == "ct" && inside->is_object() && !member(*inside, "dir"))
    return {find_field(kCtKeys, text_of(*inside, "key"))};
  if (kind == "fib") return {fib_field(*inside)};
  if (kind == "&") {
    const auto* const sides = list_of(inside);
    if (!sides || sides->size() != 2) return {};
    Operand operand = operand_of((*sides)[0], depth + 1);
    operand.mask = bits_of((*sides)[1], operand);
    if (!operand.mask) operand.field = Field::kUnknown;
    return operand;
  }
  return {};
}

std::vector<Operand> operands_of(const Json& expression) {
  std::string_view kind;
  const Json* const inside = only_member(expression, kind);
  const auto* const parts = inside && kind == "concat" ? list_of(inside) : nullptr;
  if (!parts) return {operand_of(expression)};
  std::vector<Operand> operands;
  for (const Json& part : *parts) operands.push_back(operand_of(part));
  return operands;
}

std::vector<Operand> operands_of_type(const Json* type) {
  const auto* const parts = list_of(type);
  if (!parts) return {{find_field(kSetTypes, text_of(type))}};
  std::vector<Operand> operands;
  for (const Json& part : *parts) operands.push_back({find_field(kSetTypes, text_of(&part))});
  return operands;
}

std::optional<Range> range_of(const Json& value, const Operand& operand) {
  std::string_view kind;
  const Json* const inside = only_member(value, kind);
  if (inside && kind == "prefix" && inside->is_object()) return prefix_range(*inside);
  if (inside && kind == "range") {
    const auto* const ends = list_of(inside);
    if (!ends || ends->size() != 2) return std::nullopt;
    const auto first = key_of((*ends)[0], operand);
    const auto last = key_of((*ends)[1], operand);
    if (!first || !last) return std::nullopt;
    return Range{*first, *last};
  }
  if (is_name(operand) && value.is_string()) return name_range(text_of(&value), '*');
  const auto key = key_of(value, operand);
  if (!key) return std::nullopt;
  return Range{*key, *key};
}

std::string shown_value(const Json& value, const Operand& operand) {
  std::string_view kind;
  const Json* const inside = only_member(value, kind);
  if (inside && kind == "prefix" && inside->is_object()) {
    const Json* const length = member(*inside, "len");
    return fmt::format("{}/{}", text_of(*inside, "addr"), length ? length->dump() : "");
  }
  const auto* const ends = inside && kind == "range" ? list_of(inside) : nullptr;
  if (ends && ends->size() == 2)
    return shown_value((*ends)[0], operand) + "-" + shown_value((*ends)[1], operand);
  if (value.is_string() && is_name(operand)) return fmt::format("\"{}\"", text_of(&value));
  if (value.is_string()) return std::string(text_of(&value));
  if (value.is_number_unsigned() && operand.field == Field::kMark)
    return fmt::format("0x{:08x}", value.get<std::uint64_t>());
  return value.dump(-1, ' ', false, Json::error_handler_t::replace);
}

}  // namespace droptrace
