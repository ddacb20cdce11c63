// SPDX-License-Identifier: GPL-2.0-only
#include "core/probe.h"

#include <netinet/in.h>

#include <algorithm>
#include <utility>

#include <fmt/format.h>

namespace droptrace {
namespace {

std::optional<std::uint16_t> port_of(const ProbeTarget& target) {
  if (target.port.empty()) return target.protocol == IPPROTO_UDP ? 53 : 80;
  return parse_port(target.port);
}

// "10.0.0.1", "10.0.0.1:80", "fd00::1", "[fd00::1]:80"
std::optional<ProbeTarget> parse_address_target(std::string_view text) {
  ProbeTarget target;
  if (text.starts_with('[')) {
    const std::size_t end = text.find(']');
    if (end == std::string_view::npos) return std::nullopt;
    target.address = parse_address(text.substr(1, end - 1));
    const std::string_view rest = text.substr(end + 1);
    if (!rest.empty() && !rest.starts_with(':')) return std::nullopt;
    if (!rest.empty()) target.port = rest.substr(1);
  } else if (const auto whole = parse_address(text)) {
    target.address = whole;
  } else {
    const std::size_t colon = text.rfind(':');
    target.address = parse_address(text.substr(0, colon));
    if (colon != std::string_view::npos) target.port = text.substr(colon + 1);
  }
  if (!target.address || !port_of(target)) return std::nullopt;
  return target;
}

std::variant<Endpoint, std::string> resolve_service(const ProbeTarget& target, const World& world) {
  const std::string full = target.space + '/' + target.name;
  if (!world.services) return "the rules of kube-proxy could not be read";
  std::optional<Address> address;
  for (const Service& service : world.services->all()) {
    if (service.ns != target.space || service.name != target.name) continue;
    for (const ServiceFrontend& frontend : service.frontends) {
      if (frontend.kind != ServiceFrontend::Kind::kClusterIp || !frontend.address) continue;
      address = address.value_or(*frontend.address);
      const bool is_it = target.port.empty() || target.port == service.port_name ||
                         target.port == std::to_string(frontend.port);
      if (service.protocol == target.protocol && is_it)
        return Endpoint{*frontend.address, frontend.port};
    }
  }
  if (!address) return "no rule of kube-proxy names the service " + full;
  const auto port = parse_port(target.port);
  if (!port)
    return fmt::format("the service {} has no {} port called '{}'", full,
                       target.protocol == IPPROTO_UDP ? "UDP" : "TCP", target.port);
  return Endpoint{*address, *port};
}

std::string place_of(const Drop& drop) {
  return drop.record.ifname.empty() ? drop.where.value_or("a namespace that is not known")
                                    : drop.where.value_or("?") + '/' + drop.record.ifname;
}

std::string text_of(const Drop& drop) {
  std::string text = fmt::format("{} at {}, {}", drop.reason, place_of(drop), drop.location);
  if (!drop.netfilter) return text;
  const NetfilterFacts& facts = *drop.netfilter;
  if (facts.hook) text += fmt::format(", {} hook", to_string(*facts.hook));
  if (facts.rule) {
    text += fmt::format(", {} {}", facts.rule->table, facts.rule->chain);
    text += facts.policy ? " policy" : facts.rule->text.empty() ? "" : ": " + facts.rule->text;
  }
  if (facts.queue) text += fmt::format(", NFQUEUE {}", *facts.queue);
  return text;
}

// Who told the client: the last to send a reset or an ICMP error.
std::string refuser(const Attempted& attempt, const World& world) {
  const Hop* found = nullptr;
  for (const Hop& hop : attempt.hops) {
    if (hop.event == HopEvent::kReset || hop.event == HopEvent::kIcmp) found = &hop;
  }
  if (!found) return "";
  const std::string what = found->event == HopEvent::kReset
                               ? std::string("a reset")
                               : fmt::format("ICMP {}/{}", found->icmp_type, found->icmp_code);
  const std::string where = world.where(found->netns);
  return fmt::format("{} from {}", what,
                     found->ifname.empty() ? where : where + '/' + found->ifname);
}

// There are no hops to tell from: of UDP none are recorded.
Cause cause_of_unseen(bool is_udp) {
  if (is_udp)
    return {"not-answered", "sent, and nothing was seen to drop it; of UDP only drops are seen",
            ""};
  return {"not-seen", "no device of a watched namespace has passed the SYN", ""};
}

}  // namespace

std::optional<ProbeTarget> parse_probe_target(std::string_view text) {
  ProbeTarget target;
  const std::size_t slash = text.find('/');
  if (slash == std::string_view::npos) return parse_address_target(text);
  target.kind = ProbeTarget::Kind::kService;
  if (text.starts_with("pod:")) {
    target.kind = ProbeTarget::Kind::kPod;
    text.remove_prefix(4);
  }
  const std::size_t end = text.find('/');
  target.space = text.substr(0, end);
  const std::string_view rest = text.substr(end + 1);
  const std::size_t colon = std::min(rest.find(':'), rest.size());
  target.name = rest.substr(0, colon);
  if (colon < rest.size()) target.port = rest.substr(colon + 1);
  if (target.space.empty() || target.name.empty()) return std::nullopt;
  if (target.kind == ProbeTarget::Kind::kPod && !parse_port(target.port)) return std::nullopt;
  return target;
}

const Pod* pod_named(std::string_view text, const World& world) {
  if (!world.workloads) return nullptr;
  for (const Pod& pod : world.workloads->pods()) {
    if (!pod.gone && pod.space + '/' + pod.name == text) return &pod;
  }
  return nullptr;
}

std::variant<Endpoint, std::string> resolve_target(const ProbeTarget& target, const World& world) {
  if (target.kind == ProbeTarget::Kind::kAddress) return Endpoint{*target.address, port_of(target)};
  if (target.kind == ProbeTarget::Kind::kService) return resolve_service(target, world);
  const std::string full = target.space + '/' + target.name;
  const Pod* const pod = pod_named(full, world);
  if (!pod) return "no pod of this node is called " + full;
  if (pod->addresses.empty()) return "the address of the pod " + full + " is not known";
  return Endpoint{*pod->addresses.begin(), port_of(target)};
}

void explain_probe(ProbeResult& result, const Attempted* attempt, const World& world) {
  Cause& cause = result.report.cause;
  if (result.outcome == Outcome::kAnswered) {
    const double took_ms = static_cast<double>(result.took_ns) / 1e6;
    const Hop* const syn = attempt ? attempt->last_syn() : nullptr;
    const std::string by =
        syn ? fmt::format("by {} at {}, ", world.where(syn->netns), to_string(syn->tuple.dst))
            : std::string();
    cause = {"", fmt::format("{}after {:.3f} ms", by, took_ms), ""};
    return;
  }
  const bool is_udp = result.dialled.protocol == IPPROTO_UDP;
  const Drop* const drop = result.drops.empty() ? nullptr : &result.drops.back();
  if (!attempt) cause = cause_of_unseen(is_udp);
  if (drop) {
    const bool was_told = result.outcome == Outcome::kRejected && (attempt || is_udp);
    if (!was_told) result.outcome = Outcome::kDropped;
    cause = {"dropped", text_of(*drop), ""};
  }
  if (result.outcome == Outcome::kRejected) {
    const std::string by = attempt ? refuser(*attempt, world) : "";
    cause.id = "rejected";
    cause.explanation = fmt::format("{}{}{}", result.error, by.empty() ? "" : ": ", by);
    if (drop) cause.explanation += "; " + text_of(*drop);
  }
  // Where it ended matters less than why it came there.
  std::optional<Cause> behind = attempt ? leak_of(*attempt, world) : std::nullopt;
  if (!behind && drop) behind = drop->cause;
  if (!behind) return;
  if (result.outcome != Outcome::kUnanswered) behind->explanation += "; then " + cause.explanation;
  cause = std::move(*behind);
}

}  // namespace droptrace
