// SPDX-License-Identifier: GPL-2.0-only
#include "core/enrich.h"

#include <netinet/in.h>

#include <algorithm>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <fmt/format.h>

#include "core/drop_site.h"
#include "core/hook.h"
#include "core/hook_function.h"
#include "core/noise.h"
#include "core/reject.h"

namespace droptrace {
namespace {

// The hook function that begins at the address; empty if none is known to.
std::string_view hook_function_at(const Symbols& symbols, std::uint64_t address) {
  const std::optional<Symbol> symbol = symbols.find(address);
  return symbol && symbol->offset == 0 ? function_at(symbols, address) : std::string_view{};
}

// nf_hook_slow frees for whatever hook said drop: ip_tables, conntrack, NAT, and nf_tables where
// nft_do_chain does not free packets itself (Linux 6.7, e0d4593140b0).
std::optional<NetfilterBackend> netfilter_backend(std::string_view reason,
                                                  std::string_view function) {
  if (function == "nf_queue" || function == "nf_reinject" || function.starts_with("nfqnl_")) {
    return NetfilterBackend::kNfqueue;
  }
  if (function.starts_with("nft_")) return NetfilterBackend::kNfTables;
  if (function == "nf_hook_slow" || reason == "NETFILTER_DROP") return NetfilterBackend::kOther;
  return std::nullopt;
}

void add_addresses(Drop& drop, const World& world) {
  const Record& record = drop.record;
  if (record.netns) {
    drop.where = world.where(*record.netns);
    if (record.ifindex) drop.peer = world.peer(*record.netns, *record.ifindex);
    const Netns* const netns = world.netns(*record.netns);
    if (netns && drop.where == netns->where) drop.where_process = netns->process;
  }
  if (record.packet.src) drop.src_class = world.classify(*record.packet.src);
  if (record.packet.dst) drop.dst_class = world.classify(*record.packet.dst);
}

// A NodePort is open at all addresses of the node. Each namespace has a loopback address: there the
// port is the node's only if NAT was seen to lead away from it.
bool may_have_node_ports(const Drop& drop, const World& world, const Address& address) {
  const AddressClass address_class = world.classify(address);
  if (address_class == AddressClass::kNode) return true;
  return address_class == AddressClass::kLoopback && drop.record.netns == world.own_netns &&
         drop.endpoint();
}

std::optional<std::string> service_at(const Drop& drop, const World& world, const Endpoint& dialled,
                                      std::uint8_t protocol) {
  if (!dialled.port) return std::nullopt;
  const auto found = world.services->find(dialled.address, *dialled.port, protocol,
                                          may_have_node_ports(drop, world, dialled.address));
  if (!found) return std::nullopt;
  return found->service->text();
}

// The name of a service that has the address, at whichever port. An address of the node is that,
// whatever services have ports there.
std::optional<std::string> service_name(const World& world, const std::optional<Address>& address) {
  if (!address || world.classify(*address) == AddressClass::kNode) return std::nullopt;
  const auto name = world.services->name_of(*address);
  if (!name) return std::nullopt;
  return "s/" + *name;
}

// A headless service is dialled at the addresses of its pods.
void add_headless_service(Drop& drop, const World& world) {
  const std::optional<Tuple> dialled = drop.dialled();
  if (world.api && dialled && !drop.service && !drop.endpoint())
    drop.service = world.api->headless(dialled->dst.address);
}

void add_services(Drop& drop, const World& world) {
  if (!world.services) return;
  const Packet& packet = drop.record.packet;
  drop.src_name = service_name(world, packet.src);
  drop.dst_name = service_name(world, packet.dst);
  const std::optional<Tuple> dialled = drop.dialled();
  if (!dialled) return;
  drop.service = service_at(drop, world, dialled->dst, dialled->protocol);
  // Nobody but a service answers from its address.
  if (!drop.service && drop.src_name && !drop.record.conntrack)
    drop.service = service_at(drop, world, dialled->src, dialled->protocol);
}

void add_party(Drop& drop, const World& world, const std::optional<Address>& address) {
  if (!address || drop.parties.contains(*address)) return;
  Party party{world.who(*address), {}};
  if (!party.owner) party.remote_node = world.remote_node(*address);
  if (party.owner || party.remote_node) drop.parties.emplace(*address, std::move(party));
}

void add_parties(Drop& drop, const World& world) {
  add_party(drop, world, drop.record.packet.src);
  add_party(drop, world, drop.record.packet.dst);
  if (!drop.record.conntrack) return;
  add_party(drop, world, drop.record.conntrack->original.src.address);
  add_party(drop, world, drop.record.conntrack->original.dst.address);
  add_party(drop, world, drop.record.conntrack->reply.src.address);
}

bool is_of_ip_tables(NetfilterRecord::Kind kind) {
  return kind == NetfilterRecord::Kind::kXtRule || kind == NetfilterRecord::Kind::kXtUnknown;
}

// The rule of ip_tables whose counter moved. It has a position, but no handle.
void add_counted_rule(NetfilterFacts& facts, const std::optional<NfFamily>& family,
                      const RuleFacts& rule) {
  facts.backend = NetfilterBackend::kIpTables;
  facts.family = family;
  facts.policy = rule.policy;
  facts.rule = rule;
  facts.from_counter = true;
}

// What the kernel side told is exact, and outweighs what the place of the drop suggests.
void add_observed(NetfilterFacts& facts, const Record& record) {
  if (!record.netfilter) return;
  using Kind = NetfilterRecord::Kind;
  const NetfilterRecord& found = *record.netfilter;
  if (found.hook) facts.hook = found.hook;
  if (is_of_ip_tables(found.kind)) {
    if (record.rule) add_counted_rule(facts, found.family, *record.rule);
    return;
  }
  facts.from_hook = found.from_hook;
  facts.from_trace = found.traced;
  facts.from_frame = !found.from_hook && !found.traced && found.kind != Kind::kNotFound;
  facts.queue = found.queue;
  facts.queue_failed = found.kind == Kind::kQueueFailed;
  facts.policy = found.kind == Kind::kNftPolicy;
  // Whoever frees the packet: nft_do_chain, or the function that called it.
  if (facts.policy || found.kind == Kind::kNftRule) facts.backend = NetfilterBackend::kNfTables;
  if (found.has_nft_rule()) facts.handle = found.rule;
  if (facts.policy || facts.handle) facts.family = found.family;
  facts.rule = record.rule;
  // Of a namespace that cannot be entered, the kernel side has told the names, but no text.
  if (!facts.rule && (facts.handle || facts.policy) && !found.chain_name.empty()) {
    RuleFacts& rule = facts.rule.emplace();
    rule.table = found.table_name;
    rule.chain = found.chain_name;
  }
}

// Which function of the hook dropped the packet, where that is all that is known: a rule says more.
void add_function(NetfilterFacts& facts, const NetfilterRecord& record, const Symbols& symbols,
                  bool nft_frees) {
  if (facts.from_counter || record.functions.empty()) return;
  if (record.has_function) {
    const std::string_view name = hook_function_at(symbols, record.functions.front());
    facts.backend = backend_of_hook_function(name);
    if (!name.empty()) facts.function = name;
    // Of these, a rule dropped it.
    facts.from_frame = facts.function && facts.backend != NetfilterBackend::kNfTables &&
                       facts.backend != NetfilterBackend::kIpTables;
    return;
  }
  for (const std::uint64_t address : record.functions) {
    const std::string_view name = hook_function_at(symbols, address);
    if (!frees_in_place(name, nft_frees) && !passes_by_conntrack(name, record.has_entry))
      facts.functions.emplace_back(name);
  }
  facts.backend = common_backend(facts.functions);
  // What has no name may be anything.
  if (std::ranges::find(facts.functions, "") != facts.functions.end()) facts.functions.clear();
}

// A packet has left its queue to die: by its listener's verdict, by a hook behind the queue after
// its listener has accepted it, or because the queue was emptied, which is nobody's verdict.
void add_verdict(NetfilterFacts& facts, const Drop& drop,
                 const std::vector<std::string_view>& functions) {
  using Kind = NetfilterRecord::Kind;
  const std::optional<NetfilterRecord>& frame = drop.record.netfilter;
  facts.queue_flushed = !functions.empty() && !handles_verdict(functions);
  if (facts.queue_flushed) {  // what passed for a verdict on the frame is something else
    facts.queue.reset();
    facts.from_frame = false;
  } else if (!frame || frame->kind == Kind::kQueueVerdict) {
    facts.queue_owner = drop.comm;
  } else if (frame->kind == Kind::kNotFound || frame->kind == Kind::kXtUnknown) {
    facts.backend = NetfilterBackend::kOther;
    facts.queue.reset();
  }
}

// False if what dropped the packet is known to have no rules.
bool may_be_a_rule(const NetfilterFacts& facts) {
  const auto has_rules = [](std::string_view function) {
    const NetfilterBackend backend = backend_of_hook_function(function);
    return backend == NetfilterBackend::kNfTables || backend == NetfilterBackend::kIpTables;
  };
  if (facts.function) return has_rules(*facts.function);
  return facts.functions.empty() || std::ranges::any_of(facts.functions, has_rules);
}

// What the kernel side has seen outweighs what the rules say.
void add_evaluated(NetfilterFacts& facts, const Record& record) {
  const std::optional<EvaluatedRules>& found = record.evaluated;
  if (!found || facts.rule || facts.handle || !may_be_a_rule(facts)) return;
  facts.evaluated = true;
  facts.candidates = found->candidates;
  facts.candidate_count = found->count;
  facts.candidates_complete = found->complete;
  facts.queue_bypass = found->bypass;
  if (!found->rule) return;
  if (facts.backend == NetfilterBackend::kOther)
    facts.backend = found->legacy ? NetfilterBackend::kIpTables : NetfilterBackend::kNfTables;
  facts.family = found->family;
  facts.handle = found->handle;
  facts.policy = found->rule->policy;
  facts.rule = found->rule;
}

void add_causes(Drop& drop, const Symbols& symbols, const EnrichOptions& options) {
  const Record& record = drop.record;
  const DropSite site = site_of(record, symbols);
  const std::string_view function = site.function;
  const std::vector<std::string_view>& functions = site.functions;
  if (options.stack) {
    for (const std::uint64_t address : site.stack) drop.stack.push_back(symbols.describe(address));
  }
  if (!record.comm.empty() && in_process_context(functions)) drop.comm = record.comm;
  if (const auto backend = netfilter_backend(drop.reason, function)) {
    NetfilterFacts& facts = drop.netfilter.emplace();
    facts.backend = *backend;
    facts.hook = hook_of_stack(functions);
    add_observed(facts, record);
    if (record.netfilter) add_function(facts, *record.netfilter, symbols, options.nft_frees);
    if (reinjects(function) && !facts.from_counter) add_verdict(facts, drop, functions);
    add_evaluated(facts, record);
  }
  drop.noise = noise_reason(drop.reason, function, record.packet);
}

// What the sender was told. Where the kernel has no tracepoint for it, the rule says so.
std::optional<std::string> answer_of(const Drop& drop) {
  const std::optional<Answer>& answer = drop.record.answer;
  if (answer && answer->reset) return "rst";
  if (answer) return fmt::format("icmp {}/{}", answer->icmp_type, answer->icmp_code);
  if (!drop.netfilter || !drop.netfilter->rule) return std::nullopt;
  return answer_of_rule(drop.netfilter->rule->text, drop.record.packet.l3 == L3::kIpv6);
}

// An entry of conntrack outlives the rules that made it, and leads to an endpoint that is none any
// more. Only of a pod that is known to be gone: of a new one, the rules may not have been read yet.
std::optional<Cause> stale_nat(const Drop& drop, const World& world) {
  const std::optional<Endpoint> endpoint = drop.endpoint();
  if (!world.services || !endpoint) return std::nullopt;
  const Party* const party = drop.party(endpoint->address);
  if (!party || !party->owner || !party->owner->gone) return std::nullopt;
  const Tuple& original = drop.record.conntrack->original;
  const auto found =
      world.services->find(original.dst.address, original.dst.port.value_or(0), original.protocol,
                           may_have_node_ports(drop, world, original.dst.address));
  if (!found) return std::nullopt;
  const std::vector<Endpoint>& endpoints = found->service->endpoints;
  if (std::ranges::find(endpoints, *endpoint) != endpoints.end()) return std::nullopt;
  const std::string dialled = to_string(original.dst);
  return Cause{
      "stale-conntrack",
      fmt::format("an old entry of conntrack still leads {} to {} of {}/{}, which is gone; the "
                  "rules of {} do not name it any more",
                  dialled, to_string(*endpoint), party->owner->space, party->owner->name,
                  found->service->text()),
      fmt::format("in the node: conntrack -D -p {} --orig-dst {}",
                  original.protocol == IPPROTO_UDP ? "udp" : "tcp",
                  to_string(original.dst.address))};
}

}  // namespace

Drop enrich(Record record, const World& world, const KernelNames& names,
            const EnrichOptions& options) {
  Drop drop;
  drop.record = std::move(record);
  drop.time_ns = static_cast<std::int64_t>(drop.record.boot_ns) + options.realtime_offset_ns;
  drop.reason = drop.record.reason ? names.reasons.name(*drop.record.reason) : "NO_REASON";
  drop.location = names.symbols.describe(drop.record.location);
  add_addresses(drop, world);
  add_parties(drop, world);
  add_services(drop, world);
  add_headless_service(drop, world);
  add_causes(drop, names.symbols, options);
  drop.answer = answer_of(drop);
  drop.cause = stale_nat(drop, world);
  return drop;
}

void count_attempt(Drop& drop, Attempts& attempts, const World& world) {
  const Packet& packet = drop.record.packet;
  const std::optional<Tuple> dialled = drop.dialled();
  if (!packet.is_syn() || !packet.seq || !dialled || !dialled->src.port || !dialled->dst.port) {
    return;
  }
  // A client that was told does not go on trying.
  const Netns* const client = drop.answer ? nullptr : world.owner(dialled->src.address);
  std::string place = drop.where.value_or("") + "/" + drop.record.ifname + " " + drop.location;
  // One function drops for all rules.
  if (drop.netfilter && drop.netfilter->handle)
    place += " " + std::to_string(*drop.netfilter->handle);
  if (drop.netfilter && drop.netfilter->function) place += " " + *drop.netfilter->function;
  drop.attempt = attempts.add_drop({*dialled, *packet.seq}, drop.record.boot_ns, place,
                                   client ? client->syn_timers : std::nullopt);
}

}  // namespace droptrace
