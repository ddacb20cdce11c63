// SPDX-License-Identifier: GPL-2.0-only
// The services of the node's namespace, read from kube-proxy's rules in the background and again
// when those have changed: iptables rules by the node's own tools, nftables mode by netlink.
//
// That nf_tables has changed is asked for, by its generation, and not listened to: for a listener
// the kernel makes a message of each of the rules that kube-proxy writes.
#pragma once

#include <chrono>
#include <cstdint>
#include <deque>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "core/kube_iptables.h"
#include "core/services.h"
#include "kernel/event_loop.h"
#include "kernel/kube_nft_dump.h"
#include "kernel/netlink.h"
#include "kernel/tool.h"

namespace droptrace {

class ServiceBook {
 public:
  // Reads the namespace that the thread is in when it is made.
  explicit ServiceBook(EventLoop& loop);

  // Starts reading if the rules are others than those read last, and neither looking nor reading
  // was too recent. As cheap as it is often called. xt_changes: a number that is another one after
  // a change of ip_tables.
  void refresh(std::uint64_t xt_changes);

  // Call now and then: ends programs that hang.
  void housekeep();

  bool reading() const { return builder_.has_value(); }

  // What was read last; nullptr until then.
  const std::shared_ptr<const Services>& services() const { return services_; }

 private:
  using Clock = std::chrono::steady_clock;
  // What tells one state of the rules from another.
  struct Marks {
    std::optional<std::uint32_t> generation;
    std::string xt_infos;
    std::uint64_t xt_changes = 0;
    bool operator==(const Marks&) const = default;
  };
  struct Source {
    const char* program = nullptr;  // nullptr: kube-proxy's own nf_tables table
    bool v6 = false;
  };

  Marks look(std::uint64_t xt_changes);
  void start();
  void read_next();
  bool read(const Source& source);
  void build();

  EventLoop& loop_;
  EventLoop::Timer build_timer_;
  std::optional<NetlinkSocket> socket_;
  std::shared_ptr<const Services> services_;
  std::optional<Marks> marks_;  // of what was read last, or is being read
  Clock::time_point started_{};
  Clock::time_point rest_until_{};
  std::deque<Source> sources_;  // still to be read
  std::optional<ServicesBuilder> builder_;
  std::vector<std::unique_ptr<KubeIptablesReader>> readers_;
  std::vector<std::unique_ptr<Tool>> tools_;
  std::vector<std::unique_ptr<KubeNftDump>> dumps_;
};

}  // namespace droptrace
