// SPDX-License-Identifier: GPL-2.0-only
// Reads the table of kube-proxy's nftables mode by netlink, a little at a time.
#pragma once

#include <cstddef>
#include <functional>
#include <optional>
#include <span>

#include "core/kube_nftables.h"
#include "core/services.h"
#include "kernel/event_loop.h"
#include "kernel/netlink.h"

namespace droptrace {

class KubeNftDump {
 public:
  // Starts in the namespace that the thread is in. builder must outlive this; finished is called
  // once, when all that the kernel tells is in there. It must not destroy this.
  KubeNftDump(EventLoop& loop, ServicesBuilder& builder, bool v6, std::function<void()> finished);
  ~KubeNftDump();
  KubeNftDump(const KubeNftDump&) = delete;
  KubeNftDump& operator=(const KubeNftDump&) = delete;

  bool running() const { return socket_.has_value(); }

 private:
  int ask();
  void on_answers();
  void take_chain(const NetlinkAttributes& attributes);
  void take_elements(const NetlinkAttributes& attributes);
  void end();

  EventLoop& loop_;
  KubeNftablesReader reader_;
  std::uint8_t family_;
  std::function<void()> finished_;
  std::optional<NetlinkSocket> socket_;
  std::size_t next_set_ = 0;  // 1-based; 0: the chains come first
};

}  // namespace droptrace
