// SPDX-License-Identifier: GPL-2.0-only
#include "kernel/rule_book.h"

#include <linux/netlink.h>

#include <algorithm>
#include <memory>

#include "kernel/nft_netlink.h"

namespace droptrace {

namespace {

using std::chrono::steady_clock;

constexpr int kRestPerRead = 10;              // at most a tenth of the time is spent reading
constexpr int kRestPerText = 4;               // the tools' time is that of another CPU
constexpr std::size_t kSpacesMax = 1024;      // then those of deleted namespaces are forgotten
constexpr std::size_t kHistoryMax = 200'000;  // rules; some 150 bytes each
constexpr std::size_t kEarlyTextMax = 2000;   // rules whose text is read before it is needed
constexpr std::chrono::seconds kDumpMemory{60};

bool any_running(const std::vector<std::unique_ptr<Tool>>& tools) {
  return std::ranges::any_of(tools, [](const auto& tool) { return tool->running(); });
}

bool same_rules(const Chain& one, const Chain& other) {
  return std::ranges::equal(one.rules, other.rules, {}, &Rule::handle, &Rule::handle);
}

}  // namespace

bool RuleBook::reading(const std::optional<std::uint32_t>& netns) const {
  const auto space = netns ? spaces_.find(*netns) : spaces_.end();
  return space != spaces_.end() && any_running(space->second.tools);
}

void RuleBook::housekeep(const std::map<std::uint32_t, NetnsRef>& live) {
  for (auto& [netns, space] : spaces_) {
    for (const auto& tool : space.tools) tool->end_if_overdue();
    if (steady_clock::now() - space.dump_wanted > kDumpMemory) space.dumped.reset();
  }
  if (spaces_.size() <= kSpacesMax) return;
  std::erase_if(spaces_, [&](const auto& each) { return !live.contains(each.first); });
}

void RuleBook::prepare(std::uint32_t netns, const NetnsRef& ref, bool with_text) {
  Space& space = spaces_[netns];
  if (!refresh(space, ref) || !with_text || space.history.size() > kEarlyTextMax) return;
  space.dump_wanted = steady_clock::now();
  read_text(space, ref);
}

void RuleBook::check(Space& space, const NetnsRef* ref) {
  if (space.checked_round == round_) return;
  space.current = ref && refresh(space, *ref);
  space.checked_round = round_;
}

bool RuleBook::refresh(Space& space, const NetnsRef& ref) {
  bool current = false;
  switch_.run_in(ref.path, [&] {
    auto socket = NetlinkSocket::open(NETLINK_NETFILTER);
    if (!socket) return;
    // A new namespace may have the number of one that is gone.
    if (const auto cookie = socket->netns_cookie(); cookie != space.netns_cookie) {
      space.generation.reset();
      space.text_generation.reset();
      space.live_generation.reset();
      space.has_changed = false;
      space.dumped.reset();
      space.history.clear();
      space.rest_until = {};
      space.netns_cookie = cookie;
    }
    const auto generation = read_nft_generation(*socket);
    if (generation && generation != space.live_generation) {
      space.has_changed = space.live_generation.has_value();
      space.live_generation = generation;
      space.live_since = steady_clock::now();
    }
    current = generation && generation == space.generation;
    const auto start = steady_clock::now();
    // Large rule sets that change all the time must not take all of our time.
    if (current || start < space.rest_until) return;
    auto tables = read_nft_tables(*socket);
    if (!tables) return;
    space.rest_until = steady_clock::now() + kRestPerRead * (steady_clock::now() - start);
    space.generation = generation;
    space.rules.nft = std::move(*tables);
    remember(space.history, space.rules.nft);
    current = true;
  });
  return current;
}

void RuleBook::remember(History& history, const std::vector<Table>& tables) {
  if (history.size() > kHistoryMax) history.clear();
  for (const Table& table : tables) {
    for (const Chain& chain : table.chains) {
      for (const Rule& rule : chain.rules) {
        RuleFacts& facts = history[{table.family, table.handle, rule.handle}];
        facts.table = table.name;
        facts.chain = chain.name;
        facts.number = rule.number;
        if (!rule.text.empty()) facts.text = rule.text;
        if (!rule.comment.empty()) facts.comment = rule.comment;
      }
    }
  }
}

// Once per generation and only if a rule is asked for: nft takes seconds for the rules of thousands
// of services, and kube-proxy makes new generations all the time.
void RuleBook::read_text(Space& space, const NetnsRef& ref) {
  if (any_running(space.tools) || space.text_generation == space.generation) return;
  if (steady_clock::now() < space.text_rest_until) return;
  space.text_started = steady_clock::now();
  space.text_generation = space.generation;
  space.tools.clear();
  space.json.clear();
  space.text.clear();
  space.saved.clear();
  if (space.rules.nft.empty()) return;
  space.dumped.reset();
  space.path = ref.path;
  space.before = space.rules;
  switch_.run_in(ref.path, [&] { start_tools(space); });
}

void RuleBook::start_tools(Space& space) {
  const auto start = [&](std::vector<std::string> arguments, auto take) {
    space.tools.push_back(std::make_unique<Tool>(loop_, std::move(arguments),
                                                 [this, &space, take](std::string output) {
                                                   take(output);
                                                   if (!any_running(space.tools))
                                                     finish_text(space);
                                                 }));
  };
  start({"nft", "-j", "-a", "list", "ruleset"},
        [&space](std::string& output) { space.json = std::move(output); });
  // Without counters: they would be those of the moment.
  start({"nft", "-s", "-a", "list", "ruleset"},
        [&space](std::string& output) { space.text = std::move(output); });
  for (const auto& [program, family] : {std::pair{"iptables-nft-save", NfFamily::kIp},
                                        std::pair{"ip6tables-nft-save", NfFamily::kIp6}})
    start({program}, [&space, family = family](std::string& output) {
      auto tables = parse_iptables_save(output, family);
      std::ranges::move(tables, std::back_inserter(space.saved));
    });
}

void RuleBook::finish_text(Space& space) {
  const auto now = steady_clock::now();
  space.text_rest_until = now + kRestPerText * (now - space.text_started);
  auto tables = parse_nft(space.json, space.text);
  if (!tables) return;  // no nft here: positions and comments will do
  use_iptables_text(*tables, space.saved);

  // iptables-save knows no handles, so its text was joined by position. That is right for a chain
  // that had the same rules before, between and after the dumps: handles never repeat.
  Ruleset after;
  std::optional<std::uint32_t> generation;
  switch_.run_in(space.path, [&] {
    auto socket = NetlinkSocket::open(NETLINK_NETFILTER);
    if (!socket || socket->netns_cookie() != space.netns_cookie) return;
    if (auto read = read_nft_tables(*socket)) after.nft = std::move(*read);
    generation = read_nft_generation(*socket);
  });
  keep_dump(space, *tables, generation);
  for (Table& table : *tables) {
    std::erase_if(table.chains, [&](const Chain& chain) {
      const Chain* first = space.before.nft_chain(table.handle, table.family, chain.handle);
      const Chain* last = after.nft_chain(table.handle, table.family, chain.handle);
      return !first || !last || !same_rules(*first, chain) || !same_rules(*last, chain);
    });
  }
  // Positions stay those of the structure that was read last.
  History texts;
  remember(texts, *tables);
  for (auto& [key, facts] : texts) {
    const auto known = space.history.find(key);
    if (known == space.history.end()) continue;
    known->second.text = std::move(facts.text);
    if (!facts.comment.empty()) known->second.comment = std::move(facts.comment);
  }
}

// Generations only grow: what is the same before and after has been the same all the time.
void RuleBook::keep_dump(Space& space, const std::vector<Table>& tables,
                         const std::optional<std::uint32_t>& generation) {
  if (!generation || generation != space.text_generation) return;
  if (steady_clock::now() - space.dump_wanted > kDumpMemory) return;  // memory for nothing
  space.dumped = std::make_shared<const std::vector<Table>>(tables);
  space.dumped_generation = generation;
}

RuleBook::Dump RuleBook::dump(std::uint32_t netns, steady_clock::time_point dropped_at,
                              const std::map<std::uint32_t, NetnsRef>& live) {
  Space& space = spaces_[netns];
  const auto ref = live.find(netns);
  check(space, ref == live.end() ? nullptr : &ref->second);
  space.dump_wanted = steady_clock::now();
  if (ref == live.end() || !space.live_generation) return {};
  if (space.has_changed && space.live_since > dropped_at) return {};
  if (space.current && space.rules.nft.empty()) {
    return {std::make_shared<const std::vector<Table>>(), false};
  }
  if (space.dumped && space.dumped_generation == space.live_generation)
    return {space.dumped, false};
  // Its text may have been read while nobody wanted all that goes with it.
  if (space.current && !any_running(space.tools) && space.dump_tried != space.generation) {
    space.text_generation.reset();
    read_text(space, ref->second);
  }
  if (any_running(space.tools)) space.dump_tried = space.text_generation;
  return {nullptr, any_running(space.tools)};
}

const Ruleset* RuleBook::rules(std::uint32_t netns, const std::map<std::uint32_t, NetnsRef>& live) {
  Space& space = spaces_[netns];
  const auto ref = live.find(netns);
  check(space, ref == live.end() ? nullptr : &ref->second);
  return space.current ? &space.rules : nullptr;
}

std::optional<RuleFacts> RuleBook::name(const NetfilterRecord& record,
                                        const std::map<std::uint32_t, NetnsRef>& live) {
  if (!record.netns || !record.family) return std::nullopt;
  Space& space = spaces_[*record.netns];
  const auto ref = live.find(*record.netns);
  check(space, ref == live.end() ? nullptr : &ref->second);
  auto facts = name_rule(record, space.rules);
  if (facts && !space.current) {  // positions may have moved meanwhile
    facts->number.reset();
    facts->path.clear();
  }
  const auto known = space.history.find({*record.family, record.table, record.rule});
  if (known == space.history.end()) return facts;
  if (known->second.text.empty() && ref != live.end()) read_text(space, ref->second);
  if (!facts) {  // deleted; where it stood among rules that came and went is not known
    RuleFacts deleted = known->second;
    deleted.number.reset();
    return deleted;
  }
  facts->text = known->second.text;
  facts->comment = known->second.comment;
  return facts;
}

}  // namespace droptrace
