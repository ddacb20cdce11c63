// SPDX-License-Identifier: GPL-2.0-only
#include "core/silent_cause.h"

#include <linux/netfilter/nf_conntrack_common.h>

#include <algorithm>

#include <fmt/format.h>
#include <fmt/ranges.h>

namespace droptrace {
namespace {

std::string place(const Hop& hop, const World& world) {
  const std::string where = world.where(hop.netns);
  return hop.ifname.empty() ? where : where + '/' + hop.ifname;
}

// The node's end of a pod's veth.
bool leads_to_pod(const Hop& hop, const World& world) {
  if (world.workloads && world.workloads->behind(hop.ifname)) return true;
  const Link* const link = world.link(hop.netns, hop.ifindex);
  return link && link->peer && link->peer->netns && *link->peer->netns != hop.netns &&
         world.where(*link->peer->netns) != kHostPlace;
}

Cause no_service(const Hop& hop, const World& world) {
  const Endpoint& dst = hop.tuple.dst;
  const std::string to = to_string(dst);
  const auto name = world.services ? world.services->name_of(dst.address) : std::nullopt;
  if (!name)
    return {"no-service-rule",
            fmt::format("{} left the node at {}: no rule of kube-proxy knows this service address",
                        to, hop.ifname),
            "check that the service exists and that kube-proxy has written its rules"};
  std::vector<std::string> ports;
  for (const Service& service : world.services->all()) {
    for (const ServiceFrontend& frontend : service.frontends) {
      if (frontend.address == dst.address) ports.push_back(std::to_string(frontend.port));
    }
  }
  return {"service-port-unknown",
          fmt::format("{} left the node at {}: service {} has no port {}, only {}", to, hop.ifname,
                      *name, dst.port.value_or(0), fmt::join(ports, ", ")),
          fmt::format("dial one of its ports: {}", fmt::join(ports, ", "))};
}

// Connections that wait to be accepted; empty if there are none.
std::string waiting_text(const CounterChange& change, std::uint16_t port) {
  const auto listener = change.after.listeners.find(port);
  if (listener == change.after.listeners.end() || listener->second == 0) return "";
  return fmt::format("; {} connection{} at port {}", listener->second,
                     listener->second == 1 ? " waits" : "s wait", port);
}

Cause cause_at_server(const Hop& last, const World& world, const CounterChange* change) {
  const std::string at = place(last, world);
  const std::uint16_t port = last.tuple.dst.port.value_or(0);
  if (!change)
    return {"not-answered",
            fmt::format("delivered to {}, which sent no answer; its counters cannot be read", at),
            ""};
  const auto times = [](std::uint64_t count) {
    return fmt::format("{} time{}", count, count == 1 ? "" : "s");
  };
  if (const auto count = change->grown("TcpExt.TCPReqQFullDrop"))
    return {"syn-queue-full",
            fmt::format("delivered to {}, whose SYN queue was full {} meanwhile "
                        "(TCPReqQFullDrop)",
                        at, times(count)),
            "raise the listener's backlog and net.ipv4.tcp_max_syn_backlog, or set tcp_syncookies"};
  if (const auto count = change->grown("TcpExt.ListenOverflows")) {
    return {"accept-queue-full",
            fmt::format("delivered to {}, where an accept queue overflowed {} meanwhile "
                        "(ListenOverflows){}",
                        at, times(count), waiting_text(*change, port)),
            "the server does not accept: look at its load, or raise its backlog and "
            "net.core.somaxconn"};
  }
  const auto no_route =
      last.tuple.dst.address.v6 ? change->grown("Ip6OutNoRoutes") : change->grown("Ip.OutNoRoutes");
  if (no_route)
    return {"no-route-back",
            fmt::format("delivered to {}, which had no route back to {} ({}, {} meanwhile)", at,
                        to_string(last.tuple.src.address), "OutNoRoutes", times(no_route)),
            "look at the routes in that namespace"};
  if (const auto count = change->grown("TcpExt.ListenDrops"))
    return {"listener-dropped",
            fmt::format("delivered to {}, where listeners dropped SYNs {} meanwhile (ListenDrops)",
                        at, times(count)),
            ""};
  return {"not-answered",
          fmt::format("delivered to {}, which sent no answer; its counters do not tell why{}", at,
                      waiting_text(*change, port)),
          ""};
}

// It came into a namespace and did not go on.
Cause cause_on_the_way(const Hop& last, const World& world, const CounterChange* change) {
  std::string at = place(last, world);
  if (last.event == HopEvent::kHook)
    at += fmt::format(", behind its {} hook", to_string(last.hook));
  if (change) {
    for (const QueueState& queue : change->after.queues) {
      if (queue.waiting == 0) continue;
      const std::string owner = queue.owner.empty()
                                    ? fmt::format("port id {}", queue.portid)
                                    : fmt::format("{} ({})", queue.owner, queue.portid);
      return {
          "nfqueue-stalled",
          fmt::format("seen last at {}; NFQUEUE {} of that namespace holds {} packet{}, and its "
                      "listener {} gives no verdict",
                      at, queue.number, queue.waiting, queue.waiting == 1 ? "" : "s", owner),
          "look at that process: is it stopped, throttled or overloaded?"};
    }
    // kube-proxy's NAT may come behind the last hop: the neighbour is that of an endpoint then.
    if (!change->after.unresolved.empty()) {
      const bool is_it = change->after.unresolved.contains(last.tuple.dst.address);
      std::vector<std::string> all;
      for (const Address& address : change->after.unresolved) all.push_back(to_string(address));
      if (is_it || all.size() == 1)
        return {"neighbour-unresolved",
                fmt::format("seen last at {}; nobody answers ARP for {} there", at,
                            is_it ? to_string(last.tuple.dst.address) : all.front()),
                "is the pod's interface up, and does it have that address?"};
    }
  }
  return {"lost-on-the-way",
          fmt::format("seen last at {}; no further place, and nothing was seen to drop it", at),
          ""};
}

bool is_address_of(const World& world, std::uint32_t netns, const Address& address) {
  const Netns* const found = world.netns(netns);
  return found && found->addresses.contains(address);
}

// What the node's conntrack knows: an entry is confirmed behind the last hook that a packet passes
// there. Without rules of kube-proxy there may be no conntrack at all.
std::string conntrack_text(const Attempted& attempt, const World& world) {
  if (attempt.entry) {
    const Endpoint& endpoint = attempt.entry->reply.src;
    const bool was_answered = (attempt.entry->status & IPS_SEEN_REPLY) != 0;
    return fmt::format("; the node's conntrack has it{}: {}",
                       endpoint == attempt.dialled.dst ? "" : ", towards " + to_string(endpoint),
                       was_answered ? "an answer has come back to the node"
                                    : "it has passed the node's hooks, and nothing has come back");
  }
  const Hop* const last = attempt.last_syn();
  if (!attempt.has_no_entry || !last || last->netns != world.own_netns) return "";
  if (last->event == HopEvent::kTransmit || !world.services || world.services->all().empty())
    return "";
  return "; the node's conntrack has no entry of it: it has not passed all of the node's hooks";
}

Cause cause_of_answer(const Attempted& attempt, const Hop& answer, const World& world) {
  const char* const what = answer.is_reset() ? "reset" : "SYN-ACK";
  if (attempt.has_place && answer.same_place(attempt.place))
    return {"answer-not-taken",
            fmt::format("the {} has come back to {}, but the client goes on trying", what,
                        place(answer, world)),
            ""};
  return {answer.is_reset() ? "reset-lost" : "syn-ack-lost",
          fmt::format("the server answered, but the {} was seen last at {} on its way back", what,
                      place(answer, world)),
          "look at the rules and routes of the way back"};
}

Cause cause_from_hops(const Attempted& attempt, const World& world, const CounterChange* change) {
  if (const Hop* const answer = attempt.last_answer())
    return cause_of_answer(attempt, *answer, world);
  const Hop* const last = attempt.last_syn();
  if (!last)
    return {"not-sent",
            "the client's kernel sends its SYN again and again, and no device of a watched "
            "namespace has passed one",
            ""};
  if (const auto leak = leak_of(attempt, world)) return *leak;
  if (last->event != HopEvent::kTransmit) {
    return is_address_of(world, last->netns, last->tuple.dst.address)
               ? cause_at_server(*last, world, change)
               : cause_on_the_way(*last, world, change);
  }
  const auto peer = world.peer(last->netns, last->ifindex);
  return {peer ? "not-received" : "left",
          peer
              ? fmt::format("sent by {}, and not seen to come in at {}", place(*last, world), *peer)
              : fmt::format("left by {}; what comes behind it is not watched", place(*last, world)),
          ""};
}

}  // namespace

std::uint64_t CounterChange::grown(const std::string& name) const {
  const std::uint64_t then = before.value(name);
  const std::uint64_t now = after.value(name);
  return now > then ? now - then : 0;
}

std::uint32_t suspect_netns(const Attempted& attempt) {
  if (attempt.last_answer()) return 0;
  const Hop* const last = attempt.last_syn();
  return last && last->event != HopEvent::kTransmit ? last->netns : 0;
}

std::optional<Cause> leak_of(const Attempted& attempt, const World& world) {
  for (const Hop& hop : attempt.hops) {
    if (!hop.is_syn() || hop.event != HopEvent::kTransmit || hop.netns != world.own_netns) continue;
    const Address& dst = hop.tuple.dst.address;
    if (hop.ifname == "lo" || leads_to_pod(hop, world) || world.remote_node(dst)) continue;
    const AddressClass what = world.classify(dst);
    if (what == AddressClass::kService) return no_service(hop, world);
    if (what != AddressClass::kPod) continue;
    const auto owner = world.who(dst);
    if (owner && !owner->node.empty())
      return Cause{
          "no-pod-route",
          fmt::format("{} left the node at {}: the pod {}/{} is on node {}, and no "
                      "route leads there",
                      to_string(hop.tuple.dst), hop.ifname, owner->space, owner->name, owner->node),
          "find out why the CNI plugin's routes to the other nodes are missing"};
    return Cause{
        "dead-endpoint",
        fmt::format("{} left the node at {}: {}", to_string(hop.tuple.dst), hop.ifname,
                    owner
                        ? fmt::format("the pod {}/{} had this address and is gone or has no route",
                                      owner->space, owner->name)
                        : std::string("no pod of this node has this address, and no route leads "
                                      "to another node")),
        "compare the service's EndpointSlice with the pods that live"};
  }
  return std::nullopt;
}

Cause cause_of(const Attempted& attempt, const World& world, const CounterChange* change) {
  Cause cause = cause_from_hops(attempt, world, change);
  cause.explanation += conntrack_text(attempt, world);
  return cause;
}

bool touches_cluster(const Attempted& attempt, const World& world) {
  const auto is_cluster = [&](const Tuple& tuple) {
    return std::ranges::any_of(std::initializer_list<Address>{tuple.src.address, tuple.dst.address},
                               [&](const Address& address) {
                                 return world.service_cidrs.contains(address) ||
                                        world.pod_cidrs.contains(address);
                               });
  };
  return is_cluster(attempt.dialled) ||
         std::ranges::any_of(attempt.hops, [&](const Hop& hop) { return is_cluster(hop.tuple); });
}

}  // namespace droptrace
