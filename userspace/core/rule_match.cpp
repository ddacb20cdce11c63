// SPDX-License-Identifier: GPL-2.0-only
#include "core/rule_match.h"

#include <netinet/in.h>

// Behind netinet/in.h, whose types it defines where nobody has yet.
#include <linux/netfilter.h>
#include <linux/rtnetlink.h>

#include <algorithm>
#include <span>
#include <utility>

namespace droptrace {
namespace {

constexpr std::size_t kNameMax = 15;  // IFNAMSIZ without its NUL

// The values that a field may have; more than one where only so much is known.
struct Reading {
  enum class State { kAbsent, kUnknown, kKnown };
  State state = State::kUnknown;
  std::array<Key, 8> keys{};
  std::size_t count = 0;

  void add(const Key& key) {
    state = State::kKnown;
    if (count < keys.size()) keys[count++] = key;
  }
  std::span<const Key> values() const { return std::span(keys).first(count); }
};

Reading absent() { return {.state = Reading::State::kAbsent}; }

template <typename Number>
Reading number_reading(const std::optional<Number>& number) {
  Reading reading;
  if (number) reading.add(number_key(*number));
  return reading;
}

Reading address_reading(const std::optional<Address>& address) {
  Reading reading;
  if (address) reading.add(address_key(*address));
  return reading;
}

Reading name_reading(const std::optional<std::string>& name) {
  Reading reading;
  if (name) reading.add(name_key(*name));
  return reading;
}

Reading states_reading(std::uint32_t states) {
  Reading reading;
  for (std::uint32_t bit = 1; bit != 0 && bit <= states; bit <<= 1U) {
    if ((states & bit) != 0) reading.add(number_key(bit));
  }
  return reading;
}

// Of an address that the namespace does not have it is not known what its routes make of it, only
// that it is not local.
Reading type_reading(const std::optional<bool>& local) {
  Reading reading;
  if (!local) return reading;
  if (*local) {
    reading.add(number_key(RTN_LOCAL));
    return reading;
  }
  for (const unsigned type : {RTN_UNICAST, RTN_BROADCAST, RTN_ANYCAST, RTN_MULTICAST, RTN_BLACKHOLE,
                              RTN_UNREACHABLE, RTN_PROHIBIT, RTN_THROW})
    reading.add(number_key(type));
  return reading;
}

bool has_ports(std::uint8_t protocol) {
  return protocol == IPPROTO_TCP || protocol == IPPROTO_UDP || protocol == IPPROTO_SCTP ||
         protocol == IPPROTO_UDPLITE || protocol == IPPROTO_DCCP;
}

// Where the transport's fields are, if the packet has any: in the first fragment alone.
bool lacks_transport(const Operand& operand, const PacketFacts& packet) {
  switch (operand.field) {
    case Field::kSrcPort:
    case Field::kDstPort:
    case Field::kTcpFlags:
    case Field::kIcmpType:
    case Field::kIcmpCode:
      return packet.later_fragment;
    default:
      return false;
  }
}

// Ports of a protocol that has none are whatever bytes stand there.
template <typename Number>
Reading port_reading(const std::optional<Number>& port, const PacketFacts& packet) {
  return packet.protocol && has_ports(*packet.protocol) ? number_reading(port) : Reading{};
}

Reading read_field(Field field, const PacketFacts& packet) {
  switch (field) {
    case Field::kUnknown:
      return {};
    case Field::kInName:
      return name_reading(packet.in);
    case Field::kOutName:
      return name_reading(packet.out);
    case Field::kNfproto:
      return number_reading(std::optional(packet.v6 ? NFPROTO_IPV6 : NFPROTO_IPV4));
    case Field::kL4proto:
      return number_reading(packet.protocol);
    case Field::kMark:
      return number_reading(packet.mark);
    case Field::kSocketUser:
      return packet.has_socket == false ? absent() : Reading{};
    case Field::kSrc:
      return address_reading(packet.src);
    case Field::kDst:
      return address_reading(packet.dst);
    case Field::kSrcPort:
      return port_reading(packet.sport, packet);
    case Field::kDstPort:
      return port_reading(packet.dport, packet);
    case Field::kTcpFlags:
      return number_reading(packet.tcp_flags);
    case Field::kIcmpType:
      return number_reading(packet.icmp_type);
    case Field::kIcmpCode:
      return number_reading(packet.icmp_code);
    case Field::kCtState:
      return states_reading(packet.ct_states);
    case Field::kCtStatus:
      return number_reading(packet.ct_status);
    case Field::kCtDirection:
      return number_reading(packet.ct_reply);
    case Field::kSrcType:
      return type_reading(packet.src_local);
    case Field::kDstType:
      return type_reading(packet.dst_local);
  }
  return {};
}

Key masked(Key key, std::uint32_t mask) {
  const Key bits = number_key(mask);
  for (std::size_t i = 0; i < key.size(); ++i) key[i] &= bits[i];
  return key;
}

Reading read(const Operand& operand, const PacketFacts& packet) {
  const std::uint8_t nfproto = packet.v6 ? NFPROTO_IPV6 : NFPROTO_IPV4;
  if (operand.nfproto != 0 && operand.nfproto != nfproto) return absent();
  if (operand.protocol != 0) {
    if (!packet.protocol) return {};
    if (operand.protocol != *packet.protocol) return absent();
  }
  if (lacks_transport(operand, packet)) return absent();
  Reading reading = read_field(operand.field, packet);
  if (operand.mask) {
    for (Key& key : reading.keys) key = masked(key, *operand.mask);
  }
  return reading;
}

bool contains(const Range& range, const Key& key) {
  return range.first <= key && key <= range.last;
}

// What holds of all values holds; what holds of some only is not known.
template <typename Test>
Truth of_all(const Reading& reading, Test test) {
  if (reading.state == Reading::State::kAbsent) return Truth::kNo;
  if (reading.state == Reading::State::kUnknown) return Truth::kUnknown;
  const auto values = reading.values();
  const auto holding = std::ranges::count_if(values, test);
  if (holding == 0) return Truth::kNo;
  return std::cmp_equal(holding, values.size()) ? Truth::kYes : Truth::kUnknown;
}

Truth in_range(const Reading& reading, const Range& range) {
  return of_all(reading, [&](const Key& key) { return contains(range, key); });
}

std::vector<Reading> read_all(const std::vector<Operand>& operands, const PacketFacts& packet) {
  std::vector<Reading> readings;
  readings.reserve(operands.size());
  for (const Operand& operand : operands) readings.push_back(read(operand, packet));
  return readings;
}

Truth fits(const Element& element, const std::vector<Reading>& readings) {
  if (element.parts.size() != readings.size()) return Truth::kUnknown;
  Truth truth = Truth::kYes;
  for (std::size_t i = 0; i < readings.size() && truth != Truth::kNo; ++i)
    truth = std::min(truth, in_range(readings[i], element.parts[i]));
  return truth;
}

bool any_absent(const std::vector<Reading>& readings) {
  return std::ranges::any_of(
      readings, [](const Reading& each) { return each.state == Reading::State::kAbsent; });
}

Truth in_set(const SetLookup& lookup, const std::vector<Reading>& readings) {
  if (!lookup.set || lookup.set->changes) return Truth::kUnknown;
  Truth truth = Truth::kNo;
  for (const Element& element : lookup.set->elements) {
    truth = std::max(truth, fits(element, readings));
    if (truth == Truth::kYes) break;
  }
  return truth;
}

Truth negated_if(bool negated, Truth truth) {
  if (!negated || truth == Truth::kUnknown) return truth;
  return truth == Truth::kYes ? Truth::kNo : Truth::kYes;
}

Truth test_reading(const Match& match, const Reading& reading) {
  if (reading.state == Reading::State::kAbsent) return Truth::kNo;
  if (match.test == Match::Test::kInRange)
    return negated_if(match.negated, in_range(reading, match.range));
  // The mask has left no bits but those asked for.
  return negated_if(match.negated,
                    of_all(reading, [](const Key& key) { return key != number_key(0); }));
}

}  // namespace

Key number_key(std::uint64_t number) {
  Key key{};
  for (std::size_t i = 0; i < sizeof(number); ++i)
    key[key.size() - 1 - i] = static_cast<std::uint8_t>(number >> (8 * i));
  return key;
}

Key address_key(const Address& address) {
  if (address.v6) return address.bytes;
  Key key{};
  std::copy_n(address.bytes.begin(), 4, key.end() - 4);
  return key;
}

Key name_key(std::string_view name) {
  Key key{};
  std::ranges::copy(name.substr(0, kNameMax), key.begin());
  return key;
}

Range name_range(std::string_view pattern, char wildcard) {
  if (!pattern.ends_with(wildcard)) return {name_key(pattern), name_key(pattern)};
  pattern.remove_suffix(1);
  pattern = pattern.substr(0, kNameMax);
  Range range{name_key(pattern), name_key(pattern)};
  std::fill(range.last.begin() + static_cast<std::ptrdiff_t>(pattern.size()), range.last.end(),
            std::uint8_t{0xff});
  return range;
}

Range cidr_range(const Cidr& cidr) {
  Range range{address_key(cidr.network), address_key(cidr.network)};
  const std::size_t width = cidr.network.v6 ? 128 : 32;
  for (std::size_t bit = cidr.prefix_length; bit < width; ++bit) {
    const std::size_t at = 128 - width + bit;
    range.last[at / 8] |= static_cast<std::uint8_t>(0x80U >> (at % 8));
  }
  return range;
}

Truth evaluate(const Match& match, const PacketFacts& packet) {
  switch (match.test) {
    case Match::Test::kUnknown:
      return Truth::kUnknown;
    case Match::Test::kInRange:
    case Match::Test::kAnyBit:
      return test_reading(match, read(match.operand, packet));
    case Match::Test::kInSet: {
      const auto readings = read_all(match.lookup.operands, packet);
      if (any_absent(readings)) return Truth::kNo;
      return negated_if(match.negated, in_set(match.lookup, readings));
    }
  }
  return Truth::kUnknown;
}

Truth evaluate(const std::vector<Match>& matches, const PacketFacts& packet) {
  Truth truth = Truth::kYes;
  for (const Match& match : matches) {
    truth = std::min(truth, evaluate(match, packet));
    if (truth == Truth::kNo) break;
  }
  return truth;
}

Found find_elements(const SetLookup& lookup, const PacketFacts& packet) {
  Found found;
  const auto readings = read_all(lookup.operands, packet);
  if (any_absent(readings)) return found;
  found.known = lookup.set && !lookup.set->changes;
  if (!found.known) return found;
  for (const Element& element : lookup.set->elements) {
    const Truth truth = fits(element, readings);
    if (truth == Truth::kYes && (!element.catch_all || found.possible.empty())) {
      found.sure = &element;
      break;
    }
    if (truth != Truth::kNo) found.possible.push_back(&element);
  }
  return found;
}

}  // namespace droptrace
