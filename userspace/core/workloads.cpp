// SPDX-License-Identifier: GPL-2.0-only
#include "core/workloads.h"

#include <algorithm>
#include <iterator>
#include <utility>

namespace droptrace {
namespace {

// As long as a namespace that is gone keeps its name: longer than a client keeps dialling.
constexpr std::uint64_t kRememberGoneNs = 600ULL * 1'000'000'000;
constexpr std::size_t kRememberGoneMax = 1024;

}  // namespace

bool Workloads::update(std::vector<Pod> live, std::uint64_t now_ns) {
  // The CNI plugin has taken its addresses back: the pod is being deleted, and the runtime has yet
  // to remove the rest. What it had is worth remembering, not what is left.
  std::set<std::string_view> addressed;
  for (const Pod& pod : pods_) {
    if (!pod.addresses.empty()) addressed.insert(pod.sandbox_id);
  }
  std::erase_if(live, [&addressed](const Pod& pod) {
    return pod.addresses.empty() && addressed.contains(pod.sandbox_id);
  });
  std::ranges::sort(live, {}, &Pod::sandbox_id);
  const auto lives = [&live](const Pod& pod) {
    return std::ranges::binary_search(live, pod.sandbox_id, {}, &Pod::sandbox_id);
  };

  std::vector<Pod> gone;
  for (const Pod& pod : pods_) {
    if (lives(pod)) {
      gone_since_.erase(pod.sandbox_id);
      continue;
    }
    const std::uint64_t since_ns = gone_since_.try_emplace(pod.sandbox_id, now_ns).first->second;
    if (now_ns - since_ns < kRememberGoneNs) {
      gone.push_back(pod);
      gone.back().gone = true;
    } else {
      gone_since_.erase(pod.sandbox_id);
    }
  }
  std::ranges::stable_sort(gone, [this](const Pod& left, const Pod& right) {
    return gone_since_.at(left.sandbox_id) > gone_since_.at(right.sandbox_id);
  });
  while (gone.size() > kRememberGoneMax) {
    gone_since_.erase(gone.back().sandbox_id);
    gone.pop_back();
  }

  std::vector<Pod> pods = std::move(live);
  std::ranges::move(gone, std::back_inserter(pods));
  if (pods == pods_) return false;
  pods_ = std::move(pods);
  index();
  return true;
}

void Workloads::index() {
  by_address_.clear();
  by_netns_.clear();
  by_veth_.clear();
  for (std::size_t i = 0; i < pods_.size(); ++i) {
    const Pod& pod = pods_[i];
    for (const Address& address : pod.addresses) by_address_.emplace(address, i);
    // The kernel soon gives the number of a namespace that ended to another one.
    by_netns_.emplace(pod.netns, i);
    if (!pod.host_veth.empty()) by_veth_.emplace(pod.host_veth, i);
  }
}

std::vector<const Pod*> Workloads::with_address(const Address& address) const {
  std::vector<const Pod*> pods;
  const auto [begin, end] = by_address_.equal_range(address);
  for (auto entry = begin; entry != end; ++entry) pods.push_back(&pods_[entry->second]);
  return pods;
}

const Pod* Workloads::in_netns(std::uint32_t inum) const {
  const auto found = by_netns_.find(inum);
  return found == by_netns_.end() ? nullptr : &pods_[found->second];
}

const Pod* Workloads::behind(std::string_view host_veth) const {
  const auto found = by_veth_.find(host_veth);
  return found == by_veth_.end() ? nullptr : &pods_[found->second];
}

}  // namespace droptrace
