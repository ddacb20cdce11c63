// SPDX-License-Identifier: GPL-2.0-only
#include <linux/netfilter/x_tables.h>
#include <linux/netfilter/xt_comment.h>
#include <linux/netfilter/xt_tcpudp.h>
#include <linux/netfilter_ipv4/ip_tables.h>
#include <linux/netfilter_ipv6/ip6_tables.h>

#include <algorithm>
#include <bit>
#include <cstring>
#include <iterator>
#include <limits>
#include <map>
#include <type_traits>

#include "core/ruleset.h"

namespace droptrace {
namespace {

using Bytes = std::span<const std::byte>;

// Where an entry keeps what is read of it. Both families go on alike behind their address part.
struct EntryShape {
  std::size_t size;
  std::size_t target_offset;
  std::size_t next_offset;
  std::size_t flags;
  std::uint8_t goto_flag;
  std::size_t address_size;
  std::size_t src, src_mask;
  std::size_t dst, dst_mask;
};

constexpr EntryShape kIpv4Entry = {sizeof(ipt_entry),
                                   offsetof(ipt_entry, target_offset),
                                   offsetof(ipt_entry, next_offset),
                                   offsetof(ipt_entry, ip.flags),
                                   IPT_F_GOTO,
                                   sizeof(in_addr),
                                   offsetof(ipt_entry, ip.src),
                                   offsetof(ipt_entry, ip.smsk),
                                   offsetof(ipt_entry, ip.dst),
                                   offsetof(ipt_entry, ip.dmsk)};
constexpr EntryShape kIpv6Entry = {sizeof(ip6t_entry),
                                   offsetof(ip6t_entry, target_offset),
                                   offsetof(ip6t_entry, next_offset),
                                   offsetof(ip6t_entry, ipv6.flags),
                                   IP6T_F_GOTO,
                                   sizeof(in6_addr),
                                   offsetof(ip6t_entry, ipv6.src),
                                   offsetof(ip6t_entry, ipv6.smsk),
                                   offsetof(ip6t_entry, ipv6.dst),
                                   offsetof(ip6t_entry, ipv6.dmsk)};

// Names of the built-in chains by NF_INET_* hook.
constexpr std::string_view kHookChains[] = {"PREROUTING", "INPUT", "FORWARD", "OUTPUT",
                                            "POSTROUTING"};

// As xt_standard_target has it: -verdict - 1, so that 0 and above are offsets to jump to.
constexpr int kDropVerdict = -NF_DROP - 1;

// A match or a target.
struct Extension {
  std::size_t size = 0;  // with its header
  std::string name;
  Bytes data;
};

struct Entry {
  std::uint32_t offset = 0;
  std::uint32_t next = 0;  // offset of the entry behind it
  bool is_goto = false;
  std::string comment;
  std::vector<std::string> printed;  // as XtRule has it
  Extension target;
};

// Copied out: nothing says that the bytes are aligned.
template <typename T>
std::optional<T> read(Bytes bytes, std::size_t offset) {
  static_assert(std::is_trivially_copyable_v<T>);
  if (offset > bytes.size() || bytes.size() - offset < sizeof(T)) return std::nullopt;
  T value;
  std::memcpy(&value, bytes.data() + offset, sizeof(T));
  return value;
}

// A field of at most max_size bytes, which need not be terminated.
std::string text_in(Bytes field, std::size_t max_size) {
  std::string text;
  for (const std::byte byte : field.first(std::min(field.size(), max_size))) {
    if (byte == std::byte{0}) break;
    text += static_cast<char>(byte);
  }
  return text;
}

// The match or target that begins at offset and ends within bytes.
std::optional<Extension> extension_at(Bytes bytes, std::size_t offset) {
  static_assert(sizeof(xt_entry_match) == sizeof(xt_entry_target) &&
                offsetof(xt_entry_match, u.user.name) == offsetof(xt_entry_target, u.user.name));
  const auto header = read<xt_entry_target>(bytes, offset);
  if (!header) return std::nullopt;
  const std::size_t size = header->u.target_size;
  if (size < sizeof(xt_entry_target) || size > bytes.size() - offset) return std::nullopt;
  const Bytes whole = bytes.subspan(offset, size);
  return Extension{
      size, text_in(whole.subspan(offsetof(xt_entry_target, u.user.name)), XT_EXTENSION_MAXNAMELEN),
      whole.subspan(sizeof(xt_entry_target))};
}

// "-s 10.244.0.0/16"; nothing where any address matches, or the mask is no prefix.
void add_network(Bytes address, Bytes mask, std::string_view option,
                 std::vector<std::string>& printed) {
  std::vector<std::uint8_t> bytes;
  int prefix = 0;
  bool ended = false;
  for (std::size_t i = 0; i < address.size(); ++i) {
    const auto part = std::to_integer<std::uint8_t>(mask[i]);
    const int ones = std::countl_one(part);
    if (std::popcount(part) != ones || (ended && ones != 0)) return;
    prefix += ones;
    ended = ended || ones != 8;
    bytes.push_back(std::to_integer<std::uint8_t>(address[i]));
  }
  const auto network = address_from_bytes(bytes);
  if (network && prefix > 0)
    printed.push_back(std::string(option) + to_string(*network) + "/" + std::to_string(prefix));
}

// "--dport 80", "--dport 1000:2000"; nothing where any port matches.
void add_ports(const std::uint16_t (&range)[2], std::string_view option,
               std::vector<std::string>& printed) {
  if (range[0] == 0 && range[1] == 0xffff) return;
  std::string text = std::string(option) + std::to_string(range[0]);
  if (range[0] != range[1]) text += ":" + std::to_string(range[1]);
  printed.push_back(std::move(text));
}

template <typename T>
void add_ports(Bytes data, std::vector<std::string>& printed) {
  const auto match = read<T>(data, 0);
  if (!match) return;
  add_ports(match->spts, "--sport ", printed);
  add_ports(match->dpts, "--dport ", printed);
}

void add_match(const Extension& match, std::vector<std::string>& printed) {
  printed.push_back("-m " + match.name);
  if (match.name == "tcp") add_ports<xt_tcp>(match.data, printed);
  if (match.name == "udp") add_ports<xt_udp>(match.data, printed);
}

std::optional<Entry> entry_at(Bytes entries, std::size_t offset, const EntryShape& shape) {
  const auto target_offset = read<std::uint16_t>(entries, offset + shape.target_offset);
  const auto next_offset = read<std::uint16_t>(entries, offset + shape.next_offset);
  const auto flags = read<std::uint8_t>(entries, offset + shape.flags);
  if (!target_offset || !next_offset || !flags) return std::nullopt;
  if (*target_offset < shape.size || *target_offset > *next_offset) return std::nullopt;
  if (*next_offset > entries.size() - offset) return std::nullopt;
  const Bytes whole = entries.subspan(offset, *next_offset);

  Entry entry;
  entry.offset = static_cast<std::uint32_t>(offset);
  entry.next = static_cast<std::uint32_t>(offset + *next_offset);
  entry.is_goto = (*flags & shape.goto_flag) != 0;
  const auto address = [&](std::size_t at) { return whole.subspan(at, shape.address_size); };
  add_network(address(shape.src), address(shape.src_mask), "-s ", entry.printed);
  add_network(address(shape.dst), address(shape.dst_mask), "-d ", entry.printed);
  for (std::size_t at = shape.size; at < *target_offset;) {
    const std::optional<Extension> match = extension_at(whole.first(*target_offset), at);
    if (!match) return std::nullopt;
    if (match->name == "comment") entry.comment = text_in(match->data, XT_MAX_COMMENT_LEN);
    add_match(*match, entry.printed);
    at += match->size;
  }
  std::optional<Extension> target = extension_at(whole, *target_offset);
  if (!target) return std::nullopt;
  if (!target->name.empty()) entry.printed.push_back("-j " + target->name);
  entry.target = std::move(*target);
  return entry;
}

// Takes the entries in their order. A chain is a row of them: a base chain starts where its hook
// does and ends with its policy, any other starts behind an ERROR target that holds its name.
class XtReader {
 public:
  explicit XtReader(const XtLayout& layout) : layout_(layout) {}

  // False if the entry has no place in a table.
  bool add(const Entry& entry);
  // nullopt if a base chain was not there, or a jump led nowhere.
  std::optional<std::vector<XtRule>> finish();

 private:
  bool has_hook(unsigned hook) const { return layout_.valid_hooks >> hook & 1; }
  std::optional<unsigned> hook_that_enters(std::uint32_t offset) const;
  void begin_chain(std::string name, std::optional<unsigned> hook);
  bool add_rule(const Entry& entry);

  XtLayout layout_;
  std::vector<XtRule> rules_;
  std::optional<std::string> chain_;  // that the next entry belongs to
  std::optional<unsigned> hook_;      // of a base chain whose policy was not seen yet
  unsigned number_ = 0;               // of the last rule
  int policies_ = 0;
};

std::optional<unsigned> XtReader::hook_that_enters(std::uint32_t offset) const {
  for (unsigned hook = 0; hook < std::size(kHookChains); ++hook) {
    if (has_hook(hook) && layout_.hook_entries[hook] == offset) return hook;
  }
  return std::nullopt;
}

void XtReader::begin_chain(std::string name, std::optional<unsigned> hook) {
  chain_ = std::move(name);
  hook_ = hook;
  number_ = 0;
}

bool XtReader::add(const Entry& entry) {
  if (entry.target.name == XT_ERROR_TARGET) {
    begin_chain(text_in(entry.target.data, XT_FUNCTION_MAXNAMELEN), std::nullopt);
    return true;
  }
  if (const std::optional<unsigned> hook = hook_that_enters(entry.offset)) {
    begin_chain(std::string(kHookChains[*hook]), hook);
  }
  return add_rule(entry);
}

bool XtReader::add_rule(const Entry& entry) {
  if (!chain_) return false;
  XtRule rule;
  rule.offset = entry.offset;
  rule.chain = *chain_;
  rule.number = ++number_;
  rule.target = entry.target.name;
  rule.rejects = entry.target.name == "REJECT";
  rule.comment = entry.comment;
  rule.printed = entry.printed;
  // The standard target is the one without a name (XT_STANDARD_TARGET).
  if (entry.target.name.empty()) {
    const auto verdict = read<int>(entry.target.data, 0);
    if (!verdict) return false;
    rule.drops = *verdict == kDropVerdict;
    if (rule.drops) rule.printed.emplace_back("-j DROP");
    // A rule without a target "jumps" to the rule behind it.
    if (*verdict >= 0 && static_cast<std::uint32_t>(*verdict) != entry.next) {
      rule.jump = static_cast<std::uint32_t>(*verdict);
      rule.returns = !entry.is_goto;
    }
  }
  if (hook_ && layout_.underflows[*hook_] == entry.offset) {
    rule.policy = true;
    ++policies_;
    hook_.reset();
    chain_.reset();
  }
  rules_.push_back(std::move(rule));
  return true;
}

std::optional<std::vector<XtRule>> XtReader::finish() {
  constexpr std::uint32_t kAllHooks = (1U << std::size(kHookChains)) - 1;
  if (policies_ != std::popcount(layout_.valid_hooks & kAllHooks)) return std::nullopt;
  const bool all_lead_to_rules = std::ranges::all_of(rules_, [&](const XtRule& rule) {
    return !rule.jump || std::ranges::binary_search(rules_, *rule.jump, {}, &XtRule::offset);
  });
  if (!all_lead_to_rules) return std::nullopt;
  return std::move(rules_);
}

}  // namespace

std::optional<std::vector<XtRule>> parse_xt_entries(std::span<const std::byte> entries,
                                                    const XtLayout& layout, NfFamily family) {
  if (family != NfFamily::kIp && family != NfFamily::kIp6) return std::nullopt;
  if (entries.size() > std::numeric_limits<std::uint32_t>::max()) return std::nullopt;
  const EntryShape& shape = family == NfFamily::kIp ? kIpv4Entry : kIpv6Entry;
  XtReader reader(layout);
  for (std::size_t offset = 0; offset < entries.size();) {
    const std::optional<Entry> entry = entry_at(entries, offset, shape);
    if (!entry || !reader.add(*entry)) return std::nullopt;
    offset = entry->next;
  }
  return reader.finish();
}

bool is_saved_as(const std::vector<XtRule>& rules, const Table& saved) {
  std::map<std::string_view, const Chain*> chains;
  std::size_t entries = 0;
  for (const Chain& chain : saved.chains) {
    chains[chain.name] = &chain;
    entries += chain.rules.size() + 1;  // and its end
  }
  if (rules.size() != entries) return false;
  return std::ranges::all_of(rules, [&](const XtRule& rule) {
    const auto found = chains.find(rule.chain);
    if (found == chains.end()) return false;
    const Chain& chain = *found->second;
    if (rule.number > chain.rules.size()) return rule.drops == chain.policy_drop;
    const Rule& line = chain.rules[rule.number - 1];
    const std::string padded = line.text + " ";
    return line.comment == rule.comment &&
           std::ranges::all_of(rule.printed, [&](const std::string& option) {
             return padded.find(" " + option + " ") != std::string::npos;
           });
  });
}

}  // namespace droptrace
