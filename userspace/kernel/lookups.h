// SPDX-License-Identifier: GPL-2.0-only
// What user space looks up for a record before it is shown: the service behind NAT and its name,
// the rule behind its numbers. A record waits for that a moment at most, and the order stays.
#pragma once

#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>

#include "core/decode.h"
#include "core/evaluation.h"
#include "core/symbols.h"
#include "core/world.h"
#include "kernel/api_book.h"
#include "kernel/bpf_object.h"
#include "kernel/event_loop.h"
#include "kernel/nat_lookup.h"
#include "kernel/netns.h"
#include "kernel/rule_book.h"
#include "kernel/rule_evaluator.h"
#include "kernel/rule_tracer.h"
#include "kernel/service_book.h"
#include "kernel/xt_tables.h"

namespace droptrace {

class WorldLoader;

class Lookups {
 public:
  // Without names, rules stay numbers and services addresses.
  Lookups(EventLoop& loop, BpfObject& bpf, bool names)
      : loop_(loop),
        bpf_(bpf),
        names_(names),
        rules_(loop),
        xt_tables_(loop, bpf),
        services_(loop),
        evaluator_(rules_, xt_tables_),
        tracer_(loop, bpf, rules_) {}

  // The engine that changes the node, if it may.
  RuleTracer& tracer() { return tracer_; }

  using Live = std::map<std::uint32_t, NetnsRef>;  // namespaces that can be entered

  // Starts reading the rules and services of the node's namespace, so that they are known before
  // the first drop. conntrack_is_read: a record without a connection is of a packet without one.
  void prepare(std::uint32_t netns, const Live& live, bool conntrack_is_read);

  // Has the API server asked for what nothing on the node tells; see ApiBook.
  void ask_api(std::string kubeconfig, std::function<void(const std::string&)> report);

  void add(Record record, const World& world, const Live& live, const Symbols& symbols);

  // Passes on the records whose look-ups are done or have taken too long, or all of them, oldest
  // first, until pass_on returns false. now_ns: CLOCK_BOOTTIME.
  void flush(std::uint64_t now_ns, bool all, const Live& live,
             const std::function<bool(Record)>& pass_on);

  // Call now and then.
  void housekeep(const Live& live);

  // What kube-proxy's rules tell of services; nullptr: nothing yet.
  const std::shared_ptr<const Services>& services() const { return services_.services(); }

  // Hands on the names that were read.
  void share_names(WorldLoader& world) const;

  // Connections that were not looked up because there were too many at a time.
  std::uint64_t skipped() const { return nat_.skipped(); }

 private:
  struct Waiting {
    Record record;
    std::uint64_t until_ns = 0;
    std::optional<Tuple> service;    // the flow dialled, if it may be one to a service
    std::optional<Inquiry> inquiry;  // what the kernel side has left open
    bool trace_asked = false;
    std::optional<RuleFacts> traced;
  };
  // Names the record's rule. False if more of it may be known in a moment.
  bool name_rule(Waiting& waiting, const Live& live);
  bool evaluate(Waiting& waiting, std::uint64_t now_ns, const Live& live);

  // Where the services are not known, or not all of them, reads them. False if they may be known in
  // a moment.
  bool find_service(const std::optional<Tuple>& dialled);
  void refresh_services() { services_.refresh(xt_tables_.changes(home_)); }

  EventLoop& loop_;
  BpfObject& bpf_;
  bool names_;
  EvaluationScope scope_;
  std::uint32_t home_ = 0;
  NatLookup nat_;
  RuleBook rules_;
  XtTables xt_tables_;
  ServiceBook services_;
  std::optional<ApiBook> api_;
  RuleEvaluator evaluator_;
  RuleTracer tracer_;
  std::deque<Waiting> waiting_;
};

}  // namespace droptrace
