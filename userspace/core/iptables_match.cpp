// SPDX-License-Identifier: GPL-2.0-only
#include "core/iptables_match.h"

#include <netinet/in.h>

// Behind netinet/in.h, whose types it defines where nobody has yet.
#include <linux/netfilter/nf_conntrack_common.h>

#include <algorithm>
#include <functional>
#include <iterator>
#include <limits>
#include <utility>

#include "core/rule_values.h"
#include "core/xt_targets.h"

namespace droptrace {
namespace {

// Calls part with each of "a,b,c"; false if one of them is refused.
bool for_each_part(std::string_view list, const std::function<bool(std::string_view)>& part) {
  while (true) {
    const std::size_t comma = list.find(',');
    if (!part(list.substr(0, comma))) return false;
    if (comma == std::string_view::npos) return true;
    list.remove_prefix(comma + 1);
  }
}

std::optional<std::uint32_t> number32(std::string_view text) {
  const auto number = number_of_text(text);
  if (!number || *number > std::numeric_limits<std::uint32_t>::max()) return std::nullopt;
  return static_cast<std::uint32_t>(*number);
}

// "80" or "80:90"; either end may be missing.
std::optional<Range> port_range(std::string_view text) {
  const std::size_t colon = text.find(':');
  const std::string_view low = text.substr(0, colon);
  const std::string_view high = colon == std::string_view::npos ? low : text.substr(colon + 1);
  const auto first = low.empty() ? 0 : number_of_text(low);
  const auto last = high.empty() ? 0xffff : number_of_text(high);
  if (text.empty() || !first || !last || *last > 0xffff) return std::nullopt;
  return Range{number_key(*first), number_key(*last)};
}

// "10.0.0.0/8"; iptables prints a mask that is no prefix in full, and that is not understood.
std::optional<Range> network_range(std::string_view text) {
  if (const auto cidr = parse_cidr(text)) return cidr_range(*cidr);
  const auto address = parse_address(text);
  if (!address) return std::nullopt;
  return Range{address_key(*address), address_key(*address)};
}

// Reads options one after the other; what it does not know, and what belongs to a match extension
// that it does not know, is a match of which nothing is known.
class OptionReader {
 public:
  explicit OptionReader(std::span<const std::string_view> words) : words_(words) {}

  RuleLogic read();

 private:
  std::string_view next() {
    if (words_.empty()) return {};
    const std::string_view word = words_.front();
    words_ = words_.subspan(1);
    return word;
  }

  void read_option(std::string_view option);
  bool read_header(std::string_view option);
  bool read_ports(std::string_view option);
  bool read_conntrack(std::string_view option);
  bool read_other(std::string_view option);
  void read_target(bool is_goto);

  void add_unknown() { logic_.matches.emplace_back(); }
  void add_range(const Operand& operand, const std::optional<Range>& range);
  void add_bits(Field field, std::optional<std::uint32_t> bits);
  void add_protocol(std::string_view text);
  void add_ports(Field field, std::string_view list);
  void add_tcp_flags(std::string_view mask, std::string_view set);
  void add_states(std::string_view list);
  void add_mark(std::string_view text);
  void add_types(Field field, std::string_view list);
  void add_icmp_type(std::string_view text, std::uint8_t protocol);
  Operand transport(Field field) const { return {field, module_protocol_}; }

  std::span<const std::string_view> words_;
  bool negated_ = false;
  bool known_module_ = true;
  std::uint8_t module_protocol_ = 0;  // of the extension whose options follow
  RuleLogic logic_;
};

RuleLogic OptionReader::read() {
  while (!words_.empty()) {
    const std::string_view option = next();
    if (option == "!") {
      negated_ = true;
      continue;
    }
    if (option == "-j" || option == "-g") {
      read_target(option == "-g");
      break;  // what follows are the target's options
    }
    read_option(option);
    negated_ = false;
  }
  return std::move(logic_);
}

void OptionReader::read_option(std::string_view option) {
  static constexpr std::string_view kModules[] = {"comment",   "conntrack", "state", "mark",
                                                  "multiport", "addrtype",  "tcp",   "udp",
                                                  "sctp",      "icmp",      "icmp6"};
  if (option == "-m") {
    const std::string_view name = next();
    known_module_ = std::ranges::find(kModules, name) != std::end(kModules);
    if (!known_module_) add_unknown();
    const bool is_protocol = name == "tcp" || name == "udp" || name == "sctp";
    module_protocol_ = is_protocol ? protocol_of_text(name).value_or(0) : 0;
    return;
  }
  if (read_header(option)) return;
  if (!known_module_) return;  // it is unknown already
  if (read_ports(option) || read_conntrack(option) || read_other(option)) return;
  if (option.starts_with('-')) add_unknown();
}

// What every rule may ask, without an extension.
bool OptionReader::read_header(std::string_view option) {
  if (option == "-s" || option == "-d") {
    add_range({option == "-s" ? Field::kSrc : Field::kDst}, network_range(next()));
  } else if (option == "-i" || option == "-o") {
    add_range({option == "-i" ? Field::kInName : Field::kOutName}, name_range(next(), '+'));
  } else if (option == "-p") {
    add_protocol(next());
  } else if (option == "-f") {
    add_unknown();
  } else {
    return false;
  }
  return true;
}

bool OptionReader::read_ports(std::string_view option) {
  if (option == "--dport" || option == "--sport") {
    add_range(transport(option == "--dport" ? Field::kDstPort : Field::kSrcPort),
              port_range(next()));
  } else if (option == "--dports" || option == "--sports") {
    add_ports(option == "--dports" ? Field::kDstPort : Field::kSrcPort, next());
  } else if (option == "--tcp-flags") {
    const std::string_view mask = next();
    add_tcp_flags(mask, next());
  } else if (option == "--icmp-type") {
    add_icmp_type(next(), IPPROTO_ICMP);
  } else if (option == "--icmpv6-type") {
    add_icmp_type(next(), IPPROTO_ICMPV6);
  } else {
    return false;
  }
  return true;
}

bool OptionReader::read_conntrack(std::string_view option) {
  if (option != "--ctstate" && option != "--state") return false;
  add_states(next());
  return true;
}

bool OptionReader::read_other(std::string_view option) {
  if (option == "--comment") {
    next();
  } else if (option == "--mark") {
    add_mark(next());
  } else if (option == "--dst-type" || option == "--src-type") {
    add_types(option == "--dst-type" ? Field::kDstType : Field::kSrcType, next());
  } else {
    return false;
  }
  return true;
}

void OptionReader::read_target(bool is_goto) {
  const std::string_view target = next();
  add_xt_target(target, logic_);
  if (!is_goto && logic_.verdict.kind != Verdict::Kind::kUnknown) return;
  logic_.verdict = {is_goto ? Verdict::Kind::kGoto : Verdict::Kind::kJump, std::string(target)};
}

void OptionReader::add_range(const Operand& operand, const std::optional<Range>& range) {
  if (!range) {
    add_unknown();
    return;
  }
  Match match;
  match.test = Match::Test::kInRange;
  match.negated = negated_;
  match.operand = operand;
  match.range = *range;
  logic_.matches.push_back(std::move(match));
}

void OptionReader::add_bits(Field field, std::optional<std::uint32_t> bits) {
  if (!bits) {
    add_unknown();
    return;
  }
  Match match;
  match.test = Match::Test::kAnyBit;
  match.negated = negated_;
  match.operand = {field, 0, 0, bits};
  logic_.matches.push_back(std::move(match));
}

void OptionReader::add_protocol(std::string_view text) {
  if (text == "all" || text == "0") return;
  const auto protocol = protocol_of_text(text);
  if (!protocol) {
    add_unknown();
    return;
  }
  add_range({Field::kL4proto}, Range{number_key(*protocol), number_key(*protocol)});
}

// "80,443,8000:8080"
void OptionReader::add_ports(Field field, std::string_view list) {
  auto set = std::make_shared<ElementSet>();
  const bool all_known = for_each_part(list, [&](std::string_view part) {
    const auto range = port_range(part);
    if (range) set->elements.emplace_back().parts = {*range};
    return range.has_value();
  });
  if (!all_known) {
    add_unknown();
    return;
  }
  Match match;
  match.test = Match::Test::kInSet;
  match.negated = negated_;
  match.lookup = {{{field}}, std::move(set)};
  logic_.matches.push_back(std::move(match));
}

void OptionReader::add_tcp_flags(std::string_view mask, std::string_view set) {
  const auto bits_of = [](std::string_view list) -> std::optional<std::uint32_t> {
    std::uint32_t bits = 0;
    const bool all_known = for_each_part(list, [&](std::string_view part) {
      const auto flag = tcp_flag_of_text(part);
      bits |= flag.value_or(0);
      return flag.has_value();
    });
    return all_known ? std::optional(bits) : std::nullopt;
  };
  const auto asked = bits_of(mask);
  const auto wanted = bits_of(set);
  if (!asked || !wanted) {
    add_unknown();
    return;
  }
  add_range({Field::kTcpFlags, IPPROTO_TCP, 0, asked},
            Range{number_key(*wanted), number_key(*wanted)});
}

// What conntrack calls states: SNAT and DNAT are what has become of the connection. Of a list of
// both kinds one is enough, which no match of ours says.
void OptionReader::add_states(std::string_view list) {
  std::uint32_t states = 0;
  std::uint32_t status = 0;
  const bool all_known = for_each_part(list, [&](std::string_view part) {
    if (part == "SNAT" || part == "DNAT") {
      status |= part == "SNAT" ? IPS_SRC_NAT : IPS_DST_NAT;
      return true;
    }
    const auto state = ct_state_of_text(part);
    states |= state.value_or(0);
    return state.has_value();
  });
  if (!all_known || (states != 0 && status != 0 && !negated_)) {
    add_unknown();
    return;
  }
  if (states != 0) add_bits(Field::kCtState, states);
  if (status != 0) add_bits(Field::kCtStatus, status);
}

// "0x4000/0x4000"
void OptionReader::add_mark(std::string_view text) {
  const std::size_t slash = text.find('/');
  const auto value = number32(text.substr(0, slash));
  const auto mask = slash == std::string_view::npos ? std::numeric_limits<std::uint32_t>::max()
                                                    : number32(text.substr(slash + 1));
  if (!value || !mask) {
    add_unknown();
    return;
  }
  add_range({Field::kMark, 0, 0, mask}, Range{number_key(*value), number_key(*value)});
}

void OptionReader::add_types(Field field, std::string_view list) {
  auto set = std::make_shared<ElementSet>();
  const bool all_known = for_each_part(list, [&](std::string_view part) {
    const auto type = address_type_of_text(part);
    if (type) set->elements.emplace_back().parts = {{number_key(*type), number_key(*type)}};
    return type.has_value();
  });
  if (!all_known) {
    add_unknown();
    return;
  }
  Match match;
  match.test = Match::Test::kInSet;
  match.negated = negated_;
  match.lookup = {{{field}}, std::move(set)};
  logic_.matches.push_back(std::move(match));
}

// "3", "3/4", "any"; a negated pair is not understood.
void OptionReader::add_icmp_type(std::string_view text, std::uint8_t protocol) {
  if (text == "any") return;
  const std::size_t slash = text.find('/');
  const auto type = icmp_type_of_text(text.substr(0, slash), protocol);
  const auto code = slash == std::string_view::npos ? 0 : number32(text.substr(slash + 1));
  if (!type || !code || (slash != std::string_view::npos && negated_)) {
    add_unknown();
    return;
  }
  add_range({Field::kIcmpType, protocol}, Range{number_key(*type), number_key(*type)});
  if (slash != std::string_view::npos)
    add_range({Field::kIcmpCode, protocol}, Range{number_key(*code), number_key(*code)});
}

}  // namespace

RuleLogic iptables_logic(std::span<const std::string_view> words) {
  return OptionReader(words).read();
}

}  // namespace droptrace
