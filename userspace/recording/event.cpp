// SPDX-License-Identifier: GPL-2.0-only
#include "recording/event.h"

#include <optional>

namespace droptrace {

namespace {

std::string_view without_newline(std::string_view text) {
  if (text.ends_with('\n')) text.remove_suffix(1);
  return text;
}

// As a resolver would have it, so that no name reads like an address or a path.
std::string host_name(const Owner& owner) {
  return owner.kind == Owner::Kind::kNode ? owner.name : owner.name + '.' + owner.space;
}

// "NS/NAME:PORTNAME" as "NAME.NS.svc".
std::string service_host(std::string_view service) {
  const std::size_t slash = service.find('/');
  if (slash == std::string_view::npos) return {};
  const std::string_view name = service.substr(slash + 1);
  return std::string(name.substr(0, name.find(':')))
      .append(".")
      .append(service.substr(0, slash))
      .append(".svc");
}

// Where the service was dialled. An answer that conntrack does not know comes from there.
std::optional<Address> service_address(const Drop& drop) {
  const std::optional<Tuple> dialled = drop.dialled();
  if (!drop.service || !dialled) return std::nullopt;
  return drop.src_name && !drop.record.conntrack ? dialled->src.address : dialled->dst.address;
}

}  // namespace

RecordedEvent recorded_event(const Drop& drop, std::string_view text, std::string_view json) {
  RecordedEvent event;
  event.time_ns = drop.time_ns;
  event.has_packet = true;
  event.record = drop.record;
  event.where = drop.where.value_or("");
  event.peer = drop.peer.value_or("");
  event.noise = !drop.noise.empty();
  event.text = without_newline(text);
  event.json = without_newline(json);
  for (const auto& [address, party] : drop.parties) {
    if (party.owner) event.names.emplace_back(address, host_name(*party.owner));
  }
  if (const auto service = service_address(drop); service && !drop.party(*service))
    event.names.emplace_back(*service, service_host(*drop.service));
  return event;
}

RecordedEvent recorded_line(std::int64_t time_ns, std::string_view json) {
  RecordedEvent event;
  event.time_ns = time_ns;
  event.json = without_newline(json);
  return event;
}

}  // namespace droptrace
