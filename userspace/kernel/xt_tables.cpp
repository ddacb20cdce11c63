// SPDX-License-Identifier: GPL-2.0-only
#include "kernel/xt_tables.h"

#include <string.h>

#include <algorithm>
#include <iterator>
#include <span>
#include <utility>

namespace droptrace {

namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;

// Looks at the rules themselves: so often at most, and for a fiftieth of the time.
constexpr milliseconds kBetweenChecks{400};
constexpr int kCheckShare = 50;
constexpr milliseconds kBetweenRequests{20};  // looks that records ask for
constexpr milliseconds kAtOnce{100};          // from a change of a table to the look at it
constexpr seconds kMemory{5};                 // for records on their way when a table was replaced

bool any_running(const std::vector<std::unique_ptr<Tool>>& tools) {
  return std::ranges::any_of(tools, [](const auto& tool) { return tool->running(); });
}

std::string name_of(const dt_xt_entry& entry) {
  return {entry.name, strnlen(entry.name, sizeof(entry.name))};
}

bool same_list(const dt_xt_list& left, const dt_xt_list& right) {
  const auto entries = [](const dt_xt_list& list) {
    return std::span(list.entry).first(std::min<std::size_t>(list.count, DT_XT_LIST_MAX));
  };
  return std::ranges::equal(entries(left), entries(right), [](const auto& a, const auto& b) {
    return a.info == b.info && a.known == b.known && a.family == b.family &&
           name_of(a) == name_of(b);
  });
}

bool can_drop(const XtRule& rule) { return rule.drops || rule.rejects; }

// Can it end a packet's way at all?
bool can_end(const XtRule& rule) { return can_drop(rule) || rule.target == "NFQUEUE"; }

// For the kernel side. What is beyond its bound is not followed, and so never named.
std::unique_ptr<dt_xt_table> abi_table(std::uint64_t number, const std::vector<XtRule>& rules,
                                       NfFamily family) {
  auto abi = std::make_unique<dt_xt_table>();
  abi->number = number;
  abi->counters_offset = xt_counters_offset(family);
  for (const XtRule& rule : rules) {
    if (can_drop(rule) && abi->rules < DT_XT_RULES_MAX)
      abi->rule[abi->rules++].offset = rule.offset;
  }
  return abi;
}

}  // namespace

void XtTables::housekeep(const Live& live) {
  forget_old();
  std::erase_if(spaces_, [&](const auto& space) { return !live.contains(space.first); });
  for (auto& [number, table] : tables_) {
    if (!live.contains(table.netns)) replace(table);
  }
  for (const auto& [netns, ref] : live) {
    Space& space = spaces_[netns];
    space.path = ref.path;
    for (const auto& tool : space.tools) tool->end_if_overdue();
    look(netns, space, false);
  }
}

void XtTables::listen(const NetfilterRecord& record, const Live& live) {
  if (record.kind != NetfilterRecord::Kind::kXtUnknown || !record.netns) return;
  const auto ref = live.find(*record.netns);
  if (ref == live.end()) return;
  Space& space = spaces_[*record.netns];
  space.path = ref->second.path;
  if (Clock::now() >= space.rest_until) look(*record.netns, space, true);
}

bool XtTables::reading(const std::optional<std::uint32_t>& netns) const {
  const auto space = netns ? spaces_.find(*netns) : spaces_.end();
  return space != spaces_.end() && any_running(space->second.tools);
}

std::uint64_t XtTables::changes(std::uint32_t netns) const {
  const auto space = spaces_.find(netns);
  return space == spaces_.end() ? 0 : space->second.changes;
}

std::optional<RuleFacts> XtTables::name(const NetfilterRecord& record) const {
  if (record.kind != NetfilterRecord::Kind::kXtRule) return std::nullopt;
  const auto found = tables_.find(record.table);
  if (found == tables_.end()) return std::nullopt;
  auto facts = name_xt_rule(record, found->second.name, found->second.rules);
  const auto text = found->second.texts.find(static_cast<std::uint32_t>(record.rule));
  if (facts && text != found->second.texts.end()) facts->text = text->second;
  return facts;
}

XtTables::Dump XtTables::dump(std::uint32_t netns, Clock::time_point dropped_at, bool unknown) {
  const auto found = spaces_.find(netns);
  if (found == spaces_.end() || !found->second.list) return {};
  Space& space = found->second;
  std::vector<std::uint64_t> numbers;
  std::vector<const Table*> current;
  for (const auto& [number, table] : tables_) {
    if (table.netns != netns) continue;
    if (table.replaced_at && *table.replaced_at > dropped_at && !unknown) return {};
    if (table.replaced_at || !std::ranges::any_of(table.rules, can_end)) continue;
    // Another one may have been there in between, if it was not seen at once.
    const auto since = table.followed_at - dropped_at;
    if (table.follows_another && since > (unknown ? kAtOnce : Clock::duration{})) return {};
    if (!table.saved) return {nullptr, any_running(space.tools)};
    numbers.push_back(number);
    current.push_back(&table);
  }
  if (!all_followed(netns, space)) return {nullptr, any_running(space.tools)};
  if (!space.dumped || numbers != space.dumped_numbers) {
    std::vector<droptrace::Table> tables;
    for (const Table* table : current) tables.push_back(*table->saved);
    space.dumped = std::make_shared<const std::vector<droptrace::Table>>(std::move(tables));
    space.dumped_numbers = std::move(numbers);
  }
  return {space.dumped, false};
}

// Is there no table but those that we know?
bool XtTables::all_followed(std::uint32_t netns, const Space& space) {
  const auto entries =
      std::span(space.list->entry).first(std::min<std::size_t>(space.list->count, DT_XT_LIST_MAX));
  return std::ranges::all_of(
      entries, [&](const auto& entry) { return find_current(netns, entry) != tables_.end(); });
}

// Without distrust, rules that look the same are taken to be those that the kernel side follows.
void XtTables::look(std::uint32_t netns, Space& space, bool distrust) {
  std::optional<dt_xt_list> list;
  if (space.list) list = bpf_.list_xt_tables(&*space.list);
  if (!list) switch_.run_in(space.path, [&] { list = bpf_.list_xt_tables(nullptr); });
  if (!list) return;
  const bool changed = !space.list || !same_list(*space.list, *list);
  space.list = list;
  if (changed) ++space.changes;
  const auto start = Clock::now();
  if (list->count == 0 && !changed) return;
  if (!changed && !distrust && start < space.check_at) return;
  switch_.run_in(space.path, [&] { read_tables(netns, space, distrust); });
  const auto took = Clock::now() - start;
  space.check_at = start + std::max<Clock::duration>(kBetweenChecks, kCheckShare * took);
  space.rest_until = Clock::now() + std::max<Clock::duration>(kBetweenRequests, kCheckShare * took);
}

XtTables::Tables::iterator XtTables::find_current(std::uint32_t netns, const dt_xt_entry& entry) {
  return std::ranges::find_if(tables_, [&](const auto& each) {
    const Table& table = each.second;
    return !table.replaced_at && table.netns == netns && table.info == entry.info;
  });
}

void XtTables::read_tables(std::uint32_t netns, Space& space, bool distrust) {
  std::map<std::uint64_t, const dt_xt_entry*> listed;  // a table is listed for each of its hooks
  for (std::uint32_t i = 0; i < space.list->count && i < DT_XT_LIST_MAX; ++i)
    listed.emplace(space.list->entry[i].info, &space.list->entry[i]);
  for (auto& [number, table] : tables_) {
    if (table.netns == netns && !listed.contains(table.info)) replace(table);
  }
  for (const auto& [info, entry] : listed) {
    const auto family = family_from_number(entry->family);
    auto blob = family ? read_xt_table(*family, name_of(*entry)) : std::nullopt;
    const auto known = find_current(netns, *entry);
    if (known != tables_.end()) {
      if (blob && !distrust && entry->known == known->first &&
          same_table(known->second.blob, *blob, *family)) {
        known->second.blob = std::move(*blob);
        continue;
      }
      replace(known->second);
      ++space.changes;
    }
    if (!blob || blob->entries.size() != entry->size || blob->number != entry->number) continue;
    auto rules = parse_xt_entries(blob->entries, blob->layout, *family);
    if (!rules) continue;
    Table table;
    table.family = *family;
    table.name = name_of(*entry);
    table.info = info;
    table.netns = netns;
    table.blob = std::move(*blob);
    table.rules = std::move(*rules);
    follow(std::move(table));
  }
  read_texts(netns, space);
}

// Between the first look at the rules and the kernel side's, the table may have been replaced: what
// is there then must be what was there before.
void XtTables::follow(Table table) {
  const std::uint64_t number = ++last_number_;
  if (!bpf_.prime_xt_table(table.info, *abi_table(number, table.rules, table.family))) return;
  const auto list = bpf_.list_xt_tables(nullptr);
  const bool still_there =
      list && std::ranges::any_of(std::span(list->entry).first(list->count),
                                  [&](const auto& each) { return each.info == table.info; });
  auto blob = still_there ? read_xt_table(table.family, table.name) : std::nullopt;
  if (!blob || !same_table(table.blob, *blob, table.family)) {
    bpf_.forget_xt_table(table.info);
    return;
  }
  table.blob = std::move(*blob);
  table.followed_at = Clock::now();
  table.follows_another = std::ranges::any_of(tables_, [&](const auto& each) {
    const Table& other = each.second;
    return other.netns == table.netns && other.family == table.family && other.name == table.name;
  });
  tables_.emplace(number, std::move(table));
}

void XtTables::replace(Table& table) {
  if (!table.replaced_at) table.replaced_at = Clock::now();
}

void XtTables::forget_old() {
  const auto now = Clock::now();
  std::erase_if(tables_, [&](const auto& each) {
    const Table& table = each.second;
    if (!table.replaced_at || now - *table.replaced_at < kMemory) return false;
    const bool address_is_used = std::ranges::any_of(tables_, [&](const auto& other) {
      return !other.second.replaced_at && other.second.info == table.info;
    });
    if (!address_is_used) bpf_.forget_xt_table(table.info);
    return true;
  });
}

void XtTables::read_texts(std::uint32_t netns, Space& space) {
  if (any_running(space.tools)) return;
  space.tools.clear();
  space.saved.clear();
  for (const auto& [program, family] : {std::pair{"iptables-legacy-save", NfFamily::kIp},
                                        std::pair{"ip6tables-legacy-save", NfFamily::kIp6}}) {
    const bool wanted = std::ranges::any_of(tables_, [&, family = family](const auto& each) {
      const Table& table = each.second;
      return table.netns == netns && table.family == family && !table.replaced_at &&
             !table.has_texts && std::ranges::any_of(table.rules, can_end);
    });
    if (!wanted) continue;
    space.tools.push_back(
        std::make_unique<Tool>(loop_, std::vector<std::string>{program},
                               [this, netns, &space, family = family](const std::string& output) {
                                 auto saved = parse_iptables_save(output, family);
                                 std::ranges::move(saved, std::back_inserter(space.saved));
                                 if (!any_running(space.tools)) finish_texts(netns, space);
                               }));
  }
}

// Takes what iptables-save has printed for tables that are still what they were when it started.
void XtTables::finish_texts(std::uint32_t netns, Space& space) {
  switch_.run_in(space.path, [&] {
    for (auto& [number, table] : tables_) {
      if (table.netns != netns || table.replaced_at || table.has_texts) continue;
      const auto blob = read_xt_table(table.family, table.name);
      if (!blob || !same_table(table.blob, *blob, table.family)) continue;
      const auto saved = std::ranges::find_if(space.saved, [&](const auto& each) {
        return each.family == table.family && each.name == table.name;
      });
      table.has_texts = saved == space.saved.end();  // there are none to be had
      if (!table.has_texts && is_saved_as(table.rules, *saved)) take_texts(table, *saved);
    }
  });
}

void XtTables::take_texts(Table& table, const droptrace::Table& saved) {
  table.has_texts = true;
  table.saved = saved;
  std::map<std::string_view, const Chain*> chains;
  for (const Chain& chain : saved.chains) chains[chain.name] = &chain;
  for (XtRule& rule : table.rules) {
    if (can_drop(rule) && !rule.policy)
      table.texts[rule.offset] = chains.at(rule.chain)->rules.at(rule.number - 1).text;
    rule.printed = {};  // has served, and there may be tens of thousands
  }
}

}  // namespace droptrace
