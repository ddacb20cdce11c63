// SPDX-License-Identifier: GPL-2.0-only
// Names rules of nf_tables by the kernel's own packet tracing, where no other engine does. It adds
// a table to the namespaces that it looks at, so it works only if it was allowed to.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <utility>

#include "core/decode.h"
#include "core/packet_trace.h"
#include "kernel/bpf_object.h"
#include "kernel/event_loop.h"
#include "kernel/netlink.h"
#include "kernel/netns.h"
#include "kernel/rule_book.h"
#include "kernel/trace_table.h"

namespace droptrace {

class RuleTracer {
 public:
  using Live = std::map<std::uint32_t, NetnsRef>;  // namespaces that can be entered

  RuleTracer(EventLoop& loop, const BpfObject& bpf, RuleBook& rules)
      : loop_(loop), bpf_(bpf), rules_(rules) {}
  ~RuleTracer();
  RuleTracer(const RuleTracer&) = delete;
  RuleTracer& operator=(const RuleTracer&) = delete;

  // From now on tables may be added. say gets a line for each change, and for what went wrong.
  void allow(TraceScope scope) { scope_ = std::move(scope); }
  void report_to(std::function<void(const std::string&)> say) { say_ = std::move(say); }

  // Looks for tables that an earlier droptrace has left behind: removes them if tables may be
  // added, else only says so.
  void find_left_overs(const Live& live);

  // Traces in this namespace from now on, if that is allowed.
  void start(std::uint32_t netns, const Live& live);

  // Adds the rule to a record whose rule no other engine has found, if the trace tells. The first
  // such drop of a namespace starts the tracing there. Returns what the trace itself says.
  std::optional<RuleFacts> attribute(Record& record, const Live& live);

  // Reads the messages that have arrived; all that precede a drop have by the time it is recorded.
  void read();

  // Ends the tracing in namespaces that are gone. Call now and then.
  void housekeep(const Live& live);

  // How often messages were lost because there were too many at a time.
  std::uint64_t overruns() const { return overruns_; }

 private:
  struct Session {
    std::string path;  // of the namespace
    NetlinkSocket socket;
    bool remove = false;  // the kernel does not do it for us
  };

  enum class Want { kNothing, kDrop, kQueue };
  Want wanted(const Record& record) const;
  void read(std::uint32_t netns, NetlinkSocket& socket);
  void note_tables(std::uint32_t netns, const Ruleset& ruleset);
  void end(Session& session);
  RuleFacts describe(NetfilterRecord& found, const TracedVerdict& verdict, std::uint64_t drop_ns,
                     const Live& live);

  EventLoop& loop_;
  const BpfObject& bpf_;
  RuleBook& rules_;
  NetnsSwitch switch_;
  std::optional<TraceScope> scope_;
  std::function<void(const std::string&)> say_ = [](const std::string&) {};
  std::map<std::uint32_t, Session> sessions_;
  std::set<std::uint32_t> refused_;  // namespaces where it cannot be, said once
  PacketTraces traces_;
  // When a table was first seen: a message has its name, which another table may have had before.
  std::map<std::pair<std::uint32_t, std::uint64_t>, std::uint64_t> tables_since_ns_;
  std::uint64_t overruns_ = 0;
};

}  // namespace droptrace
