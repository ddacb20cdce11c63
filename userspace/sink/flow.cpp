// SPDX-License-Identifier: GPL-2.0-only
#include "sink/flow.h"

#include <algorithm>
#include <optional>
#include <utility>

#include <fmt/format.h>

namespace droptrace {
namespace {

constexpr std::size_t kArrowColumns = 3;
// Of a shortened name: enough to tell it from its neighbours' by both ends.
constexpr std::size_t kShortestName = 12;

// Builds the ends one after the other: a Kubernetes namespace is said once and holds for what comes
// behind it.
class EndBuilder {
 public:
  EndBuilder(const Drop& drop, bool brief) : drop_(drop), brief_(brief) {}

  // Who dialled. The port tells its attempts apart, and is all that a reader needs of the address.
  FlowEnd client(const Endpoint& endpoint) {
    const Party* const party = drop_.party(endpoint.address);
    if (!party || !party->owner || party->owner->kind != Owner::Kind::kPod || !endpoint.port)
      return server(endpoint);
    FlowEnd end{"", name_of(*party->owner), fmt::format(":{}", *endpoint.port)};
    if (party->owner->gone) end.after += " (gone)";
    return end;
  }

  // Who was dialled, or chosen to answer.
  FlowEnd server(const Endpoint& endpoint) {
    const Party* const party = drop_.party(endpoint.address);
    const std::string address = to_string(endpoint);
    if (!party) return {"", "", address};
    if (!party->owner) {
      const bool hint = party->remote_node && !brief_;
      return {
          "", "",
          hint ? fmt::format("{} (node/{})", address, to_string(*party->remote_node)) : address};
    }
    const char* const mark = party->owner->gone ? " (gone)" : "";
    if (brief_ && endpoint.port && party->owner->kind == Owner::Kind::kPod)
      return {"", name_of(*party->owner), fmt::format(":{}{}", *endpoint.port, mark)};
    const std::string& node = party->owner->node;
    const std::string on_node = node.empty() ? "" : escaped(fmt::format(" (node/{})", node)).bytes;
    return {"", name_of(*party->owner), fmt::format("{} {}{}", mark, address, on_node)};
  }

  // What was dialled, where it is known to be a service; in passing: a reply comes from behind it.
  FlowEnd service(const Endpoint& endpoint, bool in_passing) {
    const std::string address = to_string(endpoint);
    if (!drop_.service)
      return {"", "", in_passing ? '(' + address + ')' : address, Style::kService};
    std::string name = service_name();
    if (in_passing) return {"(", std::move(name), fmt::format(" {})", address), Style::kService};
    return {"", std::move(name), brief_ ? "" : fmt::format(" ({})", address), Style::kService};
  }

  // A headless one has no address of its own: its pods' are dialled.
  FlowEnd headless_service() { return {"", service_name(), "", Style::kService}; }

  bool is_pod(const Endpoint& endpoint) const {
    const Party* const party = drop_.party(endpoint.address);
    return party && party->owner && party->owner->kind == Owner::Kind::kPod;
  }

 private:
  std::string service_name() {
    const std::string_view text = *drop_.service;
    const std::size_t slash = text.find('/');
    if (slash == std::string_view::npos) return escaped(text).bytes;
    return within(text.substr(0, slash), text.substr(slash + 1));
  }

  std::string name_of(const Owner& owner) {
    // There is but one node here; which of its addresses it was says more than its name.
    if (owner.kind == Owner::Kind::kNode) return "node";
    return within(owner.space, owner.name);
  }

  std::string within(std::string_view space, std::string_view name) {
    const bool is_said = space == space_;
    space_ = space;
    return escaped(is_said ? std::string(name) : fmt::format("{}/{}", space, name)).bytes;
  }

  const Drop& drop_;
  bool brief_;
  std::string space_;  // Kubernetes namespace that was said last
};

// The ends that the packet itself names. ARP has them too, without ports.
std::vector<FlowEnd> packet_ends(const Packet& packet, EndBuilder& build) {
  if (!packet.src || !packet.dst) return {};
  FlowEnd from = build.client({*packet.src, packet.sport});
  return {std::move(from), build.server({*packet.dst, packet.dport})};
}

std::string cut(const std::string& text, std::size_t columns) {
  std::vector<std::string_view> characters;
  for (std::string_view rest = text; !rest.empty();) {
    const auto character = first_character(rest);
    characters.push_back(rest.substr(0, character ? character->size : 1));
    rest.remove_prefix(characters.back().size());
  }
  if (characters.size() <= columns || columns == 0) return text;

  const std::size_t head = columns / 2;
  const std::size_t tail = columns - head - 1;
  std::string result;
  for (std::size_t i = 0; i < head; ++i) result += characters[i];
  result += "…";
  for (std::size_t i = characters.size() - tail; i < characters.size(); ++i)
    result += characters[i];
  return result;
}

}  // namespace

std::vector<FlowEnd> flow_ends(const Drop& drop, bool brief) {
  const Record& record = drop.record;
  EndBuilder build(drop, brief);
  const std::optional<Tuple> dialled = drop.dialled();
  // An ICMP error carries the conntrack entry of the connection it is about, not one of its own.
  if (!dialled || (record.packet.protocol && *record.packet.protocol != dialled->protocol))
    return packet_ends(record.packet, build);

  const std::optional<Endpoint> endpoint = drop.endpoint();
  const bool reply = record.conntrack && record.conntrack->reply_direction;
  const bool is_service =
      endpoint || drop.service || (!reply && drop.dst_class == AddressClass::kService);
  const auto dialled_end = [&] {
    return is_service ? build.service(dialled->dst, reply && endpoint) : build.server(dialled->dst);
  };
  std::vector<FlowEnd> ends;
  if (!reply && build.is_pod(dialled->dst) && drop.service && !endpoint) {
    ends.push_back(build.client(dialled->src));
    if (!brief) ends.push_back(build.headless_service());
    ends.push_back(build.server(dialled->dst));
    return ends;
  }
  if (!reply) {
    ends.push_back(build.client(dialled->src));
    ends.push_back(dialled_end());
    if (endpoint && !brief) ends.push_back(build.server(*endpoint));
    return ends;
  }
  if (endpoint) ends.push_back(build.server(*endpoint));
  ends.push_back(dialled_end());
  ends.push_back(build.client(dialled->src));
  return ends;
}

void fit(std::vector<FlowEnd>& ends, std::size_t columns) {
  std::size_t fixed = 0;
  std::vector<std::size_t> names;
  for (const FlowEnd& end : ends) {
    fixed += kArrowColumns + escaped(end.before).columns + escaped(end.after).columns;
    names.push_back(escaped(end.name).columns);
  }
  fixed -= std::min(fixed, kArrowColumns);  // no arrow leads to the first

  const std::size_t limit = name_limit(names, fixed, columns, kShortestName);
  for (FlowEnd& end : ends) end.name = shortened(end.name, limit);
}

std::size_t name_limit(std::span<const std::size_t> names, std::size_t fixed, std::size_t columns,
                       std::size_t shortest) {
  std::size_t limit = shortest;
  for (const std::size_t name : names) limit = std::max(limit, name);
  const auto total = [&] {
    std::size_t sum = fixed;
    for (const std::size_t name : names) sum += std::min(name, limit);
    return sum;
  };
  while (limit > shortest && total() > columns) --limit;
  return limit;
}

std::string to_string(const FlowEnd& end) { return end.before + end.name + end.after; }

std::string shortened(const std::string& text, std::size_t columns) {
  const std::size_t slash = text.find('/');
  if (slash == std::string::npos || columns < kShortestName) return cut(text, columns);
  const std::string space = text.substr(0, slash);
  const std::string name = text.substr(slash + 1);
  // A Kubernetes namespace holds many names: of room that is short it gets the smaller part.
  const std::size_t room = columns - 1;
  const std::size_t left = room - std::min(room, escaped(name).columns);
  const std::size_t share = std::min(std::max(room / 3, left), escaped(space).columns);
  return cut(space, share) + '/' + cut(name, room - share);
}

}  // namespace droptrace
