// SPDX-License-Identifier: GPL-2.0-only
#include "kernel/lookups.h"

#include <utility>

#include "kernel/self_test.h"
#include "kernel/world_loader.h"

namespace droptrace {

namespace {

constexpr std::uint64_t kPatienceNs = 50'000'000;  // how long a drop waits for what is being read

// The flow as it was dialled, if that may have been a service.
std::optional<Tuple> dialled_service(const Record& record, const World& world) {
  const auto dialled =
      record.conntrack ? std::optional(record.conntrack->original) : record.packet.tuple();
  if (!dialled || !dialled->dst.port) return std::nullopt;
  const AddressClass dialled_class = world.classify(dialled->dst.address);
  const bool may_be =
      dialled_class == AddressClass::kService || dialled_class == AddressClass::kNode;
  return may_be ? dialled : std::nullopt;
}

// Is it about a pod that only the API server may know, or knew when it was asked?
bool is_of_remote_pod(const Record& record, const World& world) {
  const auto remote = [&](const std::optional<Address>& address) {
    if (!address || world.classify(*address) != AddressClass::kPod) return false;
    const auto owner = world.who(*address);
    return !owner || !owner->node.empty();
  };
  return remote(record.packet.src) || remote(record.packet.dst) ||
         (record.conntrack && remote(record.conntrack->reply.src.address));
}

// Has the rule matched by an element of a set or a map, which its text does not tell?
bool looks_up(const RuleFacts& rule) {
  return rule.element.empty() && (rule.text.find(" vmap ") != std::string::npos ||
                                  rule.text.find(" @") != std::string::npos);
}

}  // namespace

void Lookups::prepare(std::uint32_t netns, const Live& live, bool conntrack_is_read) {
  const auto ref = live.find(netns);
  if (!names_) return;
  // The self-test has found out where rules of nf_tables drop.
  scope_ = {conntrack_is_read, bpf_.layout().policy_site != 0};
  if (ref != live.end()) rules_.prepare(netns, ref->second, true);
  xt_tables_.housekeep(live);
  home_ = netns;
  refresh_services();
}

void Lookups::ask_api(std::string kubeconfig, std::function<void(const std::string&)> report) {
  api_.emplace(loop_, std::move(kubeconfig), std::move(report));
  api_->refresh();
}

void Lookups::share_names(WorldLoader& world) const {
  world.use_services(services());
  if (api_) world.use_api_names(api_->names());
}

void Lookups::housekeep(const Live& live) {
  if (api_) api_->housekeep();
  rules_.housekeep(live);
  tracer_.housekeep(live);
  if (!names_) return;
  xt_tables_.housekeep(live);
  services_.housekeep();
  refresh_services();
}

void Lookups::add(Record record, const World& world, const Live& live, const Symbols& symbols) {
  std::optional<Inquiry> inquiry;
  if (names_ && engine_allowed("evaluated"))
    inquiry = inquiry_of(record, site_of(record, symbols), world, scope_);
  if (const auto found = nat_.find(record, world, live)) record.conntrack = found;
  if (api_ && is_of_remote_pod(record, world)) api_->refresh();
  if (names_ && record.netfilter) xt_tables_.listen(*record.netfilter, live);
  const std::uint64_t until_ns = record.boot_ns + kPatienceNs;
  auto service = names_ ? dialled_service(record, world) : std::nullopt;
  Waiting waiting;
  waiting.record = std::move(record);
  waiting.until_ns = until_ns;
  waiting.service = std::move(service);
  waiting.inquiry = std::move(inquiry);
  waiting_.push_back(std::move(waiting));
}

bool Lookups::name_rule(Waiting& waiting, const Live& live) {
  Record& record = waiting.record;
  if (!waiting.trace_asked) waiting.traced = tracer_.attribute(record, live);
  waiting.trace_asked = true;
  if (!names_ || !record.netfilter) return true;
  const NetfilterRecord& found = *record.netfilter;
  if (found.kind == NetfilterRecord::Kind::kXtUnknown) return true;
  if (found.kind == NetfilterRecord::Kind::kXtRule) {
    record.rule = xt_tables_.name(found);
    const bool lacks_text = record.rule && !record.rule->policy && record.rule->text.empty();
    return !lacks_text || !xt_tables_.reading(found.netns);
  }
  record.rule = rules_.name(found, live);
  if (waiting.traced) {
    if (!record.rule) record.rule = waiting.traced;
    record.rule->path = waiting.traced->path;
  }
  return !rules_.reading(found.netns);
}

bool Lookups::find_service(const std::optional<Tuple>& dialled) {
  if (!dialled) return true;
  const Services* const known = services().get();
  const auto& [address, port] = dialled->dst;
  if (known && known->find(address, port.value_or(0), dialled->protocol, true)) return true;
  refresh_services();
  return !services_.reading();
}

bool Lookups::evaluate(Waiting& waiting, std::uint64_t now_ns, const Live& live) {
  Record& record = waiting.record;
  if (!waiting.inquiry || record.evaluated) return true;
  if (!waiting.inquiry->wants_rule && (!record.rule || !looks_up(*record.rule))) return true;
  return evaluator_.evaluate(record, *waiting.inquiry, now_ns, live);
}

void Lookups::flush(std::uint64_t now_ns, bool all, const Live& live,
                    const std::function<bool(Record)>& pass_on) {
  rules_.begin_round();
  tracer_.read();
  while (!waiting_.empty()) {
    Waiting& first = waiting_.front();
    const bool has_service = find_service(first.service);
    bool is_named = name_rule(first, live) && has_service;
    is_named = evaluate(first, now_ns, live) && is_named;
    if (!is_named && !all && now_ns < first.until_ns) return;
    const bool more = pass_on(std::move(first.record));
    waiting_.pop_front();
    if (!more) return;
  }
}

}  // namespace droptrace
