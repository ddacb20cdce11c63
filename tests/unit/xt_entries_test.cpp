// SPDX-License-Identifier: GPL-2.0-only
#include <linux/netfilter/x_tables.h>
#include <linux/netfilter_ipv4/ip_tables.h>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <functional>
#include <iterator>
#include <optional>
#include <random>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include <doctest/doctest.h>

#include "core/ruleset.h"
#include "tests/support/rule_dumps.h"
#include "tests/support/xt_blob.h"

namespace droptrace {
namespace {

constexpr int kAccept = -NF_ACCEPT - 1;
constexpr int kDrop = -NF_DROP - 1;

std::optional<std::vector<XtRule>> parse(const Blob& blob, NfFamily family = NfFamily::kIp) {
  return parse_xt_entries(blob.entries, blob.layout, family);
}

// Builds the entries of an IPv4 table.
class XtBuilder {
 public:
  std::uint32_t size() const { return static_cast<std::uint32_t>(blob_.entries.size()); }

  XtBuilder& base_chain(unsigned hook) {
    blob_.layout.valid_hooks |= 1U << hook;
    blob_.layout.hook_entries[hook] = size();
    return *this;
  }
  XtBuilder& policy(unsigned hook, int verdict) {
    blob_.layout.underflows[hook] = size();
    return standard(verdict);
  }
  XtBuilder& chain(std::string_view name) {
    std::vector<char> data(XT_FUNCTION_MAXNAMELEN);
    std::ranges::copy(name, data.begin());
    return entry(XT_ERROR_TARGET, data);
  }
  XtBuilder& standard(int verdict) {
    std::vector<char> data(sizeof(verdict));
    std::memcpy(data.data(), &verdict, sizeof(verdict));
    return entry(XT_STANDARD_TARGET, data);
  }
  // match_size overrides the size that the next entry's comment match says it has.
  XtBuilder& comment(std::string_view text, std::optional<std::uint16_t> match_size = {}) {
    xt_entry_match match = {};
    std::strcpy(match.u.user.name, "comment");
    match.u.match_size =
        match_size.value_or(static_cast<std::uint16_t>(sizeof(match) + text.size()));
    append(matches_, match);
    append(matches_, text);
    return *this;
  }
  XtBuilder& entry(std::string_view target_name, const std::vector<char>& data) {
    xt_entry_target target = {};
    target.u.target_size = static_cast<std::uint16_t>(sizeof(target) + data.size());
    std::ranges::copy(target_name, target.u.user.name);
    ipt_entry head = {};
    head.target_offset = static_cast<std::uint16_t>(sizeof(head) + matches_.size());
    head.next_offset = static_cast<std::uint16_t>(head.target_offset + target.u.target_size);
    append(blob_.entries, head);
    append(blob_.entries, std::span<const std::byte>(matches_));
    append(blob_.entries, target);
    append(blob_.entries, data);
    matches_.clear();
    return *this;
  }

  Blob build() const { return blob_; }

 private:
  template <typename T>
  static void append(std::vector<std::byte>& bytes, const T& value) {
    if constexpr (requires { std::span(value); }) {
      std::ranges::copy(std::as_bytes(std::span(value)), std::back_inserter(bytes));
    } else {
      std::ranges::copy(std::as_bytes(std::span(&value, 1)), std::back_inserter(bytes));
    }
  }

  Blob blob_;
  std::vector<std::byte> matches_;
};

// INPUT with one rule and policy DROP, and a chain USER with one rule.
XtBuilder small_table() {
  XtBuilder builder;
  builder.base_chain(NF_INET_LOCAL_IN).comment("first").standard(kAccept);
  builder.policy(NF_INET_LOCAL_IN, kDrop);
  builder.chain("USER").standard(kDrop).standard(XT_RETURN).chain("ERROR");
  return builder;
}

const XtRule* find(const std::vector<XtRule>& rules, std::string_view chain, unsigned number) {
  const auto found = std::ranges::find_if(
      rules, [&](const XtRule& rule) { return rule.chain == chain && rule.number == number; });
  return found == rules.end() ? nullptr : &*found;
}

const XtRule& rule_of(const std::vector<XtRule>& rules, std::string_view chain, unsigned number) {
  const XtRule* const rule = find(rules, chain, number);
  REQUIRE_MESSAGE(rule, "no rule " << number << " in " << std::string(chain));
  return *rule;
}

// The chain that a jump ends in, or "".
std::string chain_jumped_to(const std::vector<XtRule>& rules, const XtRule& rule) {
  if (!rule.jump) return {};
  const auto target = std::ranges::find(rules, *rule.jump, &XtRule::offset);
  return target != rules.end() && target->number == 1 ? target->chain : "?";
}

void check_against_save(const std::vector<XtRule>& rules, const Table& saved) {
  std::size_t entries = 0;
  for (const Chain& chain : saved.chains) {
    for (const Rule& rule : chain.rules) {
      CAPTURE(rule.text);
      const XtRule& entry = rule_of(rules, chain.name, rule.number);
      CHECK(entry.comment == rule.comment);
      CHECK(chain_jumped_to(rules, entry) == rule.target);
      CHECK(entry.drops == rule.text.ends_with(" -j DROP"));
      CHECK(entry.rejects == (rule.text.find(" -j REJECT") != std::string::npos));
      CHECK_FALSE(entry.policy);
    }
    const auto end_number = static_cast<unsigned>(chain.rules.size()) + 1;
    const XtRule& end = rule_of(rules, chain.name, end_number);
    CHECK(end.policy == chain.hook.has_value());
    CHECK(end.drops == chain.policy_drop);
    entries += end_number;
  }
  CHECK(rules.size() == entries);
}

TEST_CASE("a recorded IPv4 table says what iptables-save says") {
  const auto rules = parse(recorded("legacy.bin"));
  REQUIRE(rules);
  const auto saved = parse_iptables_save(rule_dump("legacy.save"), NfFamily::kIp);
  check_against_save(*rules, saved.at(0));
  CHECK(rule_of(*rules, "USER", 3).target == "NFQUEUE");
  CHECK(rule_of(*rules, "USER", 5).target == "LOG");
  CHECK(rule_of(*rules, "USER", 6).target.empty());
  CHECK(rules->front().offset == 0);
}

TEST_CASE("a recorded IPv6 table says what ip6tables-save says") {
  const auto rules = parse(recorded("legacy6.bin"), NfFamily::kIp6);
  REQUIRE(rules);
  const auto saved = parse_iptables_save(rule_dump("legacy6.save"), NfFamily::kIp6);
  check_against_save(*rules, saved.at(0));
}

TEST_CASE("a table is told from another one by what iptables-save prints") {
  const auto rules = parse(recorded("legacy.bin"));
  REQUIRE(rules);
  const std::string text = rule_dump("legacy.save");
  const auto is_saved = [&](const std::string& dump) {
    return is_saved_as(*rules, parse_iptables_save(dump, NfFamily::kIp).at(0));
  };
  const auto with = [&](std::string_view from, std::string_view to) {
    std::string changed = text;
    const auto at = changed.find(from);
    REQUIRE(at != std::string::npos);
    return changed.replace(at, from.size(), to);
  };
  CHECK(is_saved(text));
  CHECK_FALSE(is_saved(with("--dport 53 ", "--dport 530 ")));
  CHECK_FALSE(is_saved(with("--comment dns", "--comment DNS")));
  CHECK_FALSE(is_saved(with("-m mark", "-m connmark")));
  CHECK_FALSE(is_saved(with("-j DROP\n", "-j ACCEPT\n")));
  CHECK_FALSE(is_saved(with("-j REJECT", "-j DROP")));
  CHECK_FALSE(is_saved(with("FORWARD DROP", "FORWARD ACCEPT")));
  CHECK_FALSE(is_saved(with(":EMPTY - [0:0]\n", "")));
  CHECK_FALSE(is_saved(with("[0:0] -A WALK -j ACCEPT\n", "")));
}

TEST_CASE("a table is read as its own family only") {
  CHECK_FALSE(parse(recorded("legacy.bin"), NfFamily::kIp6));
  CHECK_FALSE(parse(recorded("legacy6.bin"), NfFamily::kIp));
  CHECK_FALSE(parse(recorded("legacy.bin"), NfFamily::kInet));
}

TEST_CASE("a table built by hand is read") {
  const auto rules = parse(small_table().build());
  REQUIRE(rules);
  REQUIRE(rules->size() == 4);
  CHECK(rule_of(*rules, "INPUT", 1).comment == "first");
  CHECK(rule_of(*rules, "INPUT", 2).policy);
  CHECK(rule_of(*rules, "INPUT", 2).drops);
  CHECK(rule_of(*rules, "USER", 1).drops);
  CHECK_FALSE(rule_of(*rules, "USER", 2).policy);
}

TEST_CASE("no entries and no hooks are an empty table") {
  const auto rules = parse(Blob{});
  REQUIRE(rules);
  CHECK(rules->empty());
}

TEST_CASE("names and comments that fill their field are not read past it") {
  XtBuilder builder = small_table();
  builder.chain(std::string(XT_FUNCTION_MAXNAMELEN, 'c'));
  builder.comment(std::string(300, 'x'));
  builder.entry(std::string(XT_EXTENSION_MAXNAMELEN, 't'), {});
  const auto rules = parse(builder.build());
  REQUIRE(rules);
  CHECK(rules->back().chain == std::string(XT_FUNCTION_MAXNAMELEN, 'c'));
  CHECK(rules->back().comment == std::string(256, 'x'));
  CHECK(rules->back().target == std::string(XT_EXTENSION_MAXNAMELEN, 't'));
}

TEST_CASE("entries with impossible sizes are refused") {
  const Blob good = small_table().build();
  const auto with = [&](std::size_t field, std::uint16_t value) {
    Blob blob = good;
    std::memcpy(blob.entries.data() + field, &value, sizeof(value));
    return parse(blob);
  };
  constexpr std::size_t kNext = offsetof(ipt_entry, next_offset);
  constexpr std::size_t kTarget = offsetof(ipt_entry, target_offset);
  REQUIRE(with(0, 0));
  CHECK_FALSE(with(kNext, 0));
  CHECK_FALSE(with(kNext, sizeof(ipt_entry)));
  CHECK_FALSE(with(kNext, 0xffff));
  CHECK_FALSE(with(kTarget, 0));
  CHECK_FALSE(with(kTarget, sizeof(ipt_entry) - 1));
  CHECK_FALSE(with(kTarget, 0xffff));
  // The sizes of the first entry's match and target.
  CHECK_FALSE(with(sizeof(ipt_entry), 0));
  CHECK_FALSE(with(sizeof(ipt_entry), sizeof(xt_entry_match) - 1));
  CHECK_FALSE(with(sizeof(ipt_entry), 0xffff));
  const std::size_t target = sizeof(ipt_entry) + sizeof(xt_entry_match) + std::strlen("first");
  CHECK_FALSE(with(target, 0));
  CHECK_FALSE(with(target, sizeof(xt_entry_target)));  // no room for the verdict
  CHECK_FALSE(with(target, 0xffff));
}

TEST_CASE("a target inside of its entry's head is refused") {
  Blob blob = small_table().build();
  const std::uint16_t target_size = sizeof(xt_standard_target);
  std::memcpy(blob.entries.data(), &target_size, sizeof(target_size));
  const std::uint16_t target_offset = 0;
  std::memcpy(blob.entries.data() + offsetof(ipt_entry, target_offset), &target_offset,
              sizeof(target_offset));
  CHECK_FALSE(parse(blob));
}

TEST_CASE("an entry behind a policy has to begin a chain") {
  XtBuilder builder;
  builder.base_chain(NF_INET_LOCAL_IN).policy(NF_INET_LOCAL_IN, kAccept);
  REQUIRE(parse(builder.build()));
  CHECK_FALSE(parse(builder.standard(kAccept).build()));
}

TEST_CASE("a base chain ends with its policy before another chain begins") {
  XtBuilder builder;
  builder.base_chain(NF_INET_LOCAL_IN).standard(kAccept);
  builder.chain("USER").policy(NF_INET_LOCAL_IN, kAccept);
  CHECK_FALSE(parse(builder.build()));
}

TEST_CASE("a match that reaches into the target is refused") {
  XtBuilder builder;
  builder.base_chain(NF_INET_LOCAL_IN).comment("first", 40).policy(NF_INET_LOCAL_IN, kDrop);
  CHECK_FALSE(parse(builder.build()));
}

TEST_CASE("a jump has to lead to a rule") {
  XtBuilder builder = small_table();
  const std::uint32_t target = builder.size();
  builder.chain("JUMPS").standard(0);
  CHECK(parse(builder.build()));
  builder.standard(static_cast<int>(target));  // to the head of a chain
  CHECK_FALSE(parse(builder.build()));
  CHECK_FALSE(parse(small_table().chain("JUMPS").standard(8).build()));
  CHECK_FALSE(parse(small_table().chain("JUMPS").standard(0x7fffffff).build()));
}

TEST_CASE("a rule that goes on with the next one does not jump") {
  XtBuilder builder = small_table();
  builder.chain("FALLS");
  builder.standard(
      static_cast<int>(builder.size() + sizeof(ipt_entry) + sizeof(xt_entry_target) + sizeof(int)));
  builder.standard(XT_RETURN);
  const auto rules = parse(builder.build());
  REQUIRE(rules);
  CHECK_FALSE(rule_of(*rules, "FALLS", 1).jump);
}

TEST_CASE("base chains have to be where the layout says") {
  const Blob good = small_table().build();
  Blob blob = good;
  SUBCASE("the hook enters between two entries") {
    blob.layout.hook_entries[NF_INET_LOCAL_IN] += 8;
  }
  SUBCASE("the policy is between two entries") { blob.layout.underflows[NF_INET_LOCAL_IN] += 8; }
  SUBCASE("the policy is in another chain") {
    blob.layout.underflows[NF_INET_LOCAL_IN] = static_cast<std::uint32_t>(good.entries.size());
  }
  SUBCASE("the hook enters at the head of a chain") {
    const std::uint32_t first = rule_of(*parse(good), "USER", 1).offset;
    constexpr auto kHeadSize = sizeof(ipt_entry) + sizeof(xt_entry_target) + XT_FUNCTION_MAXNAMELEN;
    blob.layout.valid_hooks |= 1U << NF_INET_FORWARD;
    blob.layout.hook_entries[NF_INET_FORWARD] = first - static_cast<std::uint32_t>(kHeadSize);
    blob.layout.underflows[NF_INET_FORWARD] = first;
  }
  SUBCASE("two hooks share a chain") {
    blob.layout.valid_hooks |= 1U << NF_INET_FORWARD;
    blob.layout.hook_entries[NF_INET_FORWARD] = blob.layout.hook_entries[NF_INET_LOCAL_IN];
    blob.layout.underflows[NF_INET_FORWARD] = blob.layout.underflows[NF_INET_LOCAL_IN];
  }
  SUBCASE("an entry belongs to no chain") { blob.layout.valid_hooks = 0; }
  CHECK_FALSE(parse(blob));
}

TEST_CASE("hooks that are not valid are not looked at") {
  Blob blob = small_table().build();
  blob.layout.hook_entries[NF_INET_FORWARD] = 0;
  blob.layout.underflows[NF_INET_FORWARD] = 0;
  blob.layout.valid_hooks |= 1U << 31;
  CHECK(parse(blob));
}

// Whatever comes out is inside of the bytes, in order, and its jumps lead somewhere.
bool is_sound(const Blob& blob, NfFamily family) {
  const auto rules = parse(blob, family);
  if (!rules) return true;
  const bool ascending = std::ranges::is_sorted(*rules, std::less_equal{}, &XtRule::offset);
  return ascending && std::ranges::all_of(*rules, [&](const XtRule& rule) {
           return rule.offset < blob.entries.size() &&
                  (!rule.jump ||
                   std::ranges::find(*rules, *rule.jump, &XtRule::offset) != rules->end());
         });
}

TEST_CASE("tables that are cut off anywhere are not read past their end") {
  for (const NfFamily family : {NfFamily::kIp, NfFamily::kIp6}) {
    const Blob whole = recorded(family == NfFamily::kIp ? "legacy.bin" : "legacy6.bin");
    for (std::size_t size = 0; size < whole.entries.size(); ++size) {
      Blob cut{{whole.entries.begin(), whole.entries.begin() + static_cast<std::ptrdiff_t>(size)},
               whole.layout};
      CAPTURE(size);
      REQUIRE(is_sound(cut, family));
    }
  }
}

TEST_CASE("tables with any byte changed are read safely") {
  for (const NfFamily family : {NfFamily::kIp, NfFamily::kIp6}) {
    Blob blob = recorded(family == NfFamily::kIp ? "legacy.bin" : "legacy6.bin");
    for (std::size_t at = 0; at < blob.entries.size(); ++at) {
      const std::byte original = blob.entries[at];
      for (const std::byte value : {std::byte{0}, std::byte{0x7f}, std::byte{0xff}}) {
        blob.entries[at] = value;
        CAPTURE(at);
        REQUIRE(is_sound(blob, family));
      }
      blob.entries[at] = original;
    }
  }
}

TEST_CASE("tables with many bytes changed are read safely") {
  const Blob original = recorded("legacy.bin");
  std::mt19937 random(1);  // the same changes every time
  for (int round = 0; round < 5000; ++round) {
    Blob blob = original;
    for (int change = 0; change < 8; ++change) {
      blob.entries[random() % blob.entries.size()] = static_cast<std::byte>(random());
    }
    blob.layout.hook_entries[random() % 5] ^= static_cast<std::uint32_t>(random() % 3);
    CAPTURE(round);
    REQUIRE(is_sound(blob, NfFamily::kIp));
  }
}

}  // namespace
}  // namespace droptrace
