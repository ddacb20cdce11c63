// SPDX-License-Identifier: GPL-2.0-only
// Keeps a World up to date: finds network namespaces, reads their links, addresses and timers, and
// follows changes. Holds no namespace open, so that a deleted pod's namespace can go away.
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "core/world.h"
#include "kernel/bpf_object.h"
#include "kernel/netlink.h"
#include "kernel/netns.h"
#include "kernel/pod_loader.h"
#include "kernel/route.h"
#include "kernel/unique_fd.h"

namespace droptrace {

class WorldLoader {
 public:
  // extra_paths: namespaces to know besides those that discovery finds. With names false,
  // namespaces other than the node's are called by their number, and nobody by a name.
  WorldLoader(CidrList service_cidrs, CidrList pod_cidrs, std::vector<std::string> extra_paths,
              bool names);

  // Looks for new and gone namespaces, reads the new ones, those marked stale, and one other in
  // turn. Returns true if the world changed. now_ns: any monotonic clock.
  bool refresh(std::uint64_t now_ns);

  std::shared_ptr<const World> world() const { return world_; }

  // The world knows these services from here on; nullptr: none.
  void use_services(const std::shared_ptr<const Services>& services);
  void use_api_names(const std::shared_ptr<const ApiNames>& names);

  // Namespaces that exist now, by inode number.
  const std::map<std::uint32_t, NetnsRef>& live() const { return live_; }

  // Readable when a link, a named namespace or a pod came or went; then call on_event() and
  // refresh() soon.
  int event_fd() const { return events_.get(); }
  void on_event();

  // A link of the node's namespace whose other end is in the Docker host's, which cannot be entered
  // from here: its name is all there is to know of it.
  void set_host_link(std::uint32_t ifindex, const VethPeer& peer);

  // Something in this namespace is not as we know it: read it again at the next refresh().
  void mark_stale(std::uint32_t inum) { stale_.insert(inum); }

  // Files about pods that cannot be used.
  std::size_t skipped_files() const { return pods_ ? pods_->skipped() : 0; }

  // Why some namespace could not be read; nullopt if all could.
  std::optional<std::string> problem() const { return problem_; }

 private:
  bool reload(std::uint32_t inum, const NetnsRef& ref);
  std::string where(std::uint32_t inum, const NetnsRef& ref) const;
  bool refresh_pods(std::uint64_t now_ns);
  std::map<std::int32_t, std::uint32_t> resolve_nsids(NetlinkSocket& socket,
                                                      const std::vector<LinkFact>& links) const;
  bool bury_gone(std::uint64_t now_ns);
  bool is_host(std::uint32_t inum) const;
  void add_host_links(Netns& home) const;

  NetnsSwitch switch_;
  std::vector<std::string> extra_paths_;
  bool names_;
  std::shared_ptr<const World> world_;
  std::map<std::uint32_t, NetnsRef> live_;
  std::map<std::uint32_t, std::uint64_t> gone_since_;
  std::set<std::uint32_t> stale_;
  std::map<std::uint32_t, VethPeer> host_links_;  // by their ifindex in the node's namespace
  std::uint32_t last_reread_ = 0;
  std::optional<std::string> problem_;
  std::optional<NetlinkSocket> link_events_;
  UniqueFd mount_events_;  // inotify on /run/netns
  std::optional<PodLoader> pods_;
  UniqueFd events_;  // epoll over all of them
};

}  // namespace droptrace
