// SPDX-License-Identifier: GPL-2.0-only
#include "kernel/world_loader.h"

#include <fcntl.h>
#include <limits.h>
#include <linux/rtnetlink.h>
#include <sys/epoll.h>
#include <sys/inotify.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <string_view>
#include <utility>

#include "kernel/error.h"
#include "kernel/files.h"
#include "kernel/privileges.h"

namespace droptrace {

namespace {

constexpr std::uint64_t kRememberGoneNs = 600ULL * 1'000'000'000;
constexpr std::size_t kRememberGoneMax = 4096;

constexpr std::size_t kMostRoutes = 4096;  // a cluster has a route for each node

// The routes that lead to pods of other nodes; the default route leads there too, and says nothing.
std::vector<Route> read_pod_routes(NetlinkSocket& socket, const CidrList& pod_cidrs) {
  std::vector<Route> routes;
  for (const Route& route : read_gateway_routes(socket, kMostRoutes).value_or(routes)) {
    const bool is_pods = std::ranges::any_of(pod_cidrs.cidrs, [&](const Cidr& cidr) {
      return route.destination.prefix_length >= cidr.prefix_length &&
             cidr.contains(route.destination.network);
    });
    if (is_pods) routes.push_back(route);
  }
  return routes;
}

// Empty if it ended meanwhile, or ref is a mount.
std::string process_of(const NetnsRef& ref) {
  constexpr std::string_view kSuffix = "/ns/net";
  if (!ref.path.starts_with("/proc/") || !ref.path.ends_with(kSuffix)) return {};
  auto comm = read_file(ref.path.substr(0, ref.path.size() - kSuffix.size()) + "/comm");
  if (!comm) return {};
  if (comm->ends_with('\n')) comm->pop_back();
  return *comm;
}

// The sysctls are those of the namespace that the reading thread is in.
std::optional<SynTimers> read_syn_timers() {
  const auto retries = read_number("/proc/sys/net/ipv4/tcp_syn_retries");
  if (!retries) return std::nullopt;
  const auto linear = read_number("/proc/sys/net/ipv4/tcp_syn_linear_timeouts");
  return SynTimers{*retries, linear.value_or(0)};
}

std::map<std::uint32_t, Link> make_links(const std::vector<LinkFact>& facts,
                                         const std::map<std::int32_t, std::uint32_t>& nsids,
                                         std::uint32_t inum) {
  std::map<std::uint32_t, Link> links;
  for (const LinkFact& fact : facts) {
    Link link{fact.name, fact.kind, {}};
    if (fact.kind == "veth" && fact.link_ifindex) {
      link.peer = Peer{*fact.link_ifindex, {}};
      if (!fact.link_nsid)
        link.peer->netns = inum;
      else if (const auto known = nsids.find(*fact.link_nsid); known != nsids.end())
        link.peer->netns = known->second;
    }
    links.emplace(fact.ifindex, std::move(link));
  }
  return links;
}

}  // namespace

WorldLoader::WorldLoader(CidrList service_cidrs, CidrList pod_cidrs,
                         std::vector<std::string> extra_paths, bool names)
    : extra_paths_(std::move(extra_paths)), names_(names) {
  auto world = std::make_shared<World>();
  world->own_netns = switch_.home();
  world->service_cidrs = std::move(service_cidrs);
  world->pod_cidrs = std::move(pod_cidrs);
  if (names_) {
    pods_.emplace();
    world->workloads = pods_->workloads();
    std::array<char, HOST_NAME_MAX + 1> name{};
    if (::gethostname(name.data(), name.size() - 1) == 0) world->node_name = name.data();
  }
  world_ = std::move(world);

  if (const auto reason = missing_for_netns())
    problem_ = "other network namespaces cannot be read: " + *reason;

  // Both sources only save time: without them, refresh() finds the same a little later.
  events_ = UniqueFd(::epoll_create1(EPOLL_CLOEXEC));
  epoll_event interest{};
  interest.events = EPOLLIN;
  link_events_ = NetlinkSocket::open(NETLINK_ROUTE);
  if (link_events_ && link_events_->join(RTNLGRP_LINK))
    ::epoll_ctl(events_.get(), EPOLL_CTL_ADD, link_events_->fd(), &interest);
  mount_events_ = UniqueFd(::inotify_init1(IN_CLOEXEC | IN_NONBLOCK));
  if (mount_events_.valid() &&
      ::inotify_add_watch(mount_events_.get(), "/run/netns", IN_CREATE | IN_DELETE) >= 0)
    ::epoll_ctl(events_.get(), EPOLL_CTL_ADD, mount_events_.get(), &interest);
  if (pods_ && pods_->event_fd() >= 0)
    ::epoll_ctl(events_.get(), EPOLL_CTL_ADD, pods_->event_fd(), &interest);
}

void WorldLoader::on_event() {
  if (link_events_) link_events_->drain();
  std::array<char, 4096> buffer;
  while (::read(mount_events_.get(), buffer.data(), buffer.size()) > 0) {
  }
  if (pods_) pods_->on_event();
  mark_stale(switch_.home());
}

bool WorldLoader::refresh(std::uint64_t now_ns) {
  live_ = discover_netns();
  for (const std::string& path : extra_paths_) {
    if (const auto inum = resolve_netns(path)) live_.try_emplace(*inum, NetnsRef{path, {}});
  }
  live_.try_emplace(switch_.home(), NetnsRef{"/proc/self/ns/net", {}});

  // One namespace that is believed to be known is read again each time, so that changes that no
  // event tells of are found in the end.
  auto next = live_.upper_bound(last_reread_);
  if (next == live_.end()) next = live_.begin();
  last_reread_ = next->first;
  stale_.insert(next->first);

  bool changed = bury_gone(now_ns);
  const auto stale = std::exchange(stale_, {});
  for (const auto& [inum, ref] : live_) {
    const Netns* known = world_->netns(inum);
    // Another namespace may have got the number of one that ended since the last look.
    const bool is_another = known && known->where != where(inum, ref);
    if (!known || known->gone || is_another || stale.contains(inum)) changed |= reload(inum, ref);
  }
  return refresh_pods(now_ns) || changed;
}

bool WorldLoader::refresh_pods(std::uint64_t now_ns) {
  if (!pods_) return false;
  std::map<std::string, std::uint32_t> mounts;
  for (const auto& [inum, ref] : live_) {
    if (ref.name && inum != switch_.home()) mounts.emplace(*ref.name, inum);
  }
  if (!pods_->refresh(mounts, now_ns)) return false;
  auto world = std::make_shared<World>(*world_);
  world->workloads = pods_->workloads();
  world_ = std::move(world);
  // A pod's namespace was there, and may have been read, before it got its address.
  for (const Pod& pod : world_->workloads->pods()) {
    const Netns* const known = pod.gone ? nullptr : world_->netns(pod.netns);
    if (known && !std::ranges::includes(known->addresses, pod.addresses)) mark_stale(pod.netns);
  }
  return true;
}

std::string WorldLoader::where(std::uint32_t inum, const NetnsRef& ref) const {
  if (inum == switch_.home()) return "node";
  return "netns:" + (names_ && ref.name ? *ref.name : std::to_string(inum));
}

bool WorldLoader::is_host(std::uint32_t inum) const {
  return std::ranges::any_of(host_links_,
                             [&](const auto& each) { return each.second.netns == inum; });
}

void WorldLoader::use_services(const std::shared_ptr<const Services>& services) {
  if (services == world_->services) return;
  auto changed = std::make_shared<World>(*world_);
  changed->services = services;
  world_ = std::move(changed);
}

void WorldLoader::use_api_names(const std::shared_ptr<const ApiNames>& names) {
  if (names == world_->api) return;
  auto changed = std::make_shared<World>(*world_);
  changed->api = names;
  world_ = std::move(changed);
}

bool WorldLoader::bury_gone(std::uint64_t now_ns) {
  std::shared_ptr<World> changed;  // a copy is made only for a change, and most rounds have none
  const auto writable = [&]() -> World& {
    if (!changed) changed = std::make_shared<World>(*world_);
    return *changed;
  };
  for (const auto& [inum, netns] : world_->namespaces) {
    if (live_.contains(inum) || is_host(inum)) {
      gone_since_.erase(inum);
    } else if (!netns->gone) {
      auto buried = std::make_shared<Netns>(*netns);
      buried->gone = true;
      writable().namespaces[inum] = std::move(buried);
      gone_since_[inum] = now_ns;
    }
  }
  for (auto gone = gone_since_.begin(); gone != gone_since_.end();) {
    if (now_ns - gone->second < kRememberGoneNs && gone_since_.size() <= kRememberGoneMax) {
      ++gone;
      continue;
    }
    writable().namespaces.erase(gone->first);
    gone = gone_since_.erase(gone);
  }
  if (!changed) return false;
  world_ = std::move(changed);
  return true;
}

bool WorldLoader::reload(std::uint32_t inum, const NetnsRef& ref) {
  auto netns = std::make_shared<Netns>();
  netns->inum = inum;
  netns->where = where(inum, ref);
  if (names_ && !ref.name && inum != switch_.home()) netns->process = process_of(ref);

  const bool entered = switch_.run_in(ref.path, [&] {
    auto socket = NetlinkSocket::open(NETLINK_ROUTE);
    if (!socket) return;
    if (const auto links = read_links(*socket))
      netns->links = make_links(*links, resolve_nsids(*socket, *links), inum);
    if (const auto addresses = read_addresses(*socket))
      netns->addresses.insert(addresses->begin(), addresses->end());
    if (names_ && inum == switch_.home())
      netns->routes = read_pod_routes(*socket, world_->pod_cidrs);
    netns->syn_timers = read_syn_timers();
  });
  if (inum == switch_.home()) add_host_links(*netns);
  // A namespace that ended meanwhile is found gone by the next refresh(); its name is worth having.
  if (!entered && world_->netns(inum)) return false;

  const Netns* known = world_->netns(inum);
  if (known && *known == *netns) return false;
  auto world = std::make_shared<World>(*world_);
  world->namespaces[inum] = std::move(netns);
  world_ = std::move(world);
  return true;
}

void WorldLoader::add_host_links(Netns& home) const {
  for (auto& [ifindex, link] : home.links) {
    const auto host = host_links_.find(ifindex);
    if (host != host_links_.end() && link.peer && link.peer->ifindex == host->second.ifindex)
      link.peer->netns = host->second.netns;
  }
}

void WorldLoader::set_host_link(std::uint32_t ifindex, const VethPeer& peer) {
  VethPeer& known = host_links_[ifindex];
  if (known == peer) return;
  known = peer;
  auto world = std::make_shared<World>(*world_);
  auto host = std::make_shared<Netns>();
  host->inum = peer.netns;
  host->where = kHostPlace;
  for (const auto& [own_ifindex, each] : host_links_) {
    if (each.netns == peer.netns)
      host->links[each.ifindex] = {each.ifname, "veth", Peer{own_ifindex, switch_.home()}};
  }
  world->namespaces[peer.netns] = std::move(host);
  if (const Netns* own = world->netns(switch_.home())) {
    auto home = std::make_shared<Netns>(*own);
    add_host_links(*home);
    world->namespaces[switch_.home()] = std::move(home);
  }
  world_ = std::move(world);
}

std::map<std::int32_t, std::uint32_t> WorldLoader::resolve_nsids(
    NetlinkSocket& socket, const std::vector<LinkFact>& links) const {
  std::set<std::int32_t> wanted;
  for (const LinkFact& link : links) {
    if (link.link_nsid) wanted.insert(*link.link_nsid);
  }
  std::map<std::int32_t, std::uint32_t> found;
  const auto ask = [&](std::uint32_t inum, const std::string& path) {
    const UniqueFd fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
    if (!fd.valid()) return;
    const auto nsid = nsid_of(socket, fd.get());
    if (nsid && wanted.erase(*nsid) > 0) found.emplace(*nsid, inum);
  };
  // A pod's only peer is the node: asking for that first saves asking for all the others.
  const auto home = live_.find(switch_.home());
  if (!wanted.empty() && home != live_.end()) ask(home->first, home->second.path);
  for (const auto& [inum, ref] : live_) {
    if (wanted.empty()) break;
    if (inum != switch_.home()) ask(inum, ref.path);
  }
  return found;
}

}  // namespace droptrace
