// SPDX-License-Identifier: GPL-2.0-only
// Names that only the API server tells, asked for in the background by the node's own kubectl.
// Nothing waits for them: where the API server is what does not work, they just stay away.
#pragma once

#include <chrono>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "core/api_names.h"
#include "kernel/event_loop.h"
#include "kernel/tool.h"

namespace droptrace {

class ApiBook {
 public:
  // kubeconfig: the file of that name; report: says once why there are no names.
  ApiBook(EventLoop& loop, std::string kubeconfig, std::function<void(const std::string&)> report);

  // Asks, unless that was too recent or is under way. As cheap as it is often called.
  void refresh();

  // Call now and then: ends programs that hang.
  void housekeep();

  // What was told last; nullptr until then.
  const std::shared_ptr<const ApiNames>& names() const { return names_; }

 private:
  using Clock = std::chrono::steady_clock;
  using AddLine = void (ApiNames::*)(std::string_view);

  void ask(std::unique_ptr<Tool>& tool, const std::vector<std::string>& what, AddLine add,
           std::function<void()> then);
  void finish(const std::string& problem);

  EventLoop& loop_;
  std::string kubeconfig_;
  std::function<void(const std::string&)> report_;
  std::shared_ptr<const ApiNames> names_;
  std::shared_ptr<ApiNames> told_;  // so far; nullptr: nobody is asked
  std::unique_ptr<Tool> pods_;
  std::unique_ptr<Tool> services_;
  Clock::time_point started_{};
  Clock::time_point rest_until_{};
};

// The administrator's kubeconfig of a node that kubeadm has set up, Kind's control plane among
// them; empty if this is none.
std::string find_kubeconfig();

}  // namespace droptrace
