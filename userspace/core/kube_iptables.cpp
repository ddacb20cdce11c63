// SPDX-License-Identifier: GPL-2.0-only
#include "core/kube_iptables.h"

#include <algorithm>
#include <optional>
#include <utility>

namespace droptrace {
namespace {

constexpr std::size_t kLineMax = 16384;
constexpr std::size_t kRulesMax = 500'000;  // of each kind; what is above is passed over
constexpr std::size_t kHostPortRulesMax = 2'000;

// Chains that connections to one service go through; behind the prefix all have the same hash.
// KUBE-XLB was KUBE-EXT until Kubernetes 1.24.
constexpr std::string_view kServiceChains[] = {"KUBE-SVC-", "KUBE-SVL-", "KUBE-EXT-", "KUBE-FW-",
                                               "KUBE-XLB-"};
constexpr std::string_view kEndpointChain = "KUBE-SEP-";

// The part of the name behind the prefix; empty if it has another.
std::string_view behind(std::string_view name, std::string_view prefix) {
  return name.starts_with(prefix) ? name.substr(prefix.size()) : std::string_view();
}

std::string_view service_hash(std::string_view chain) {
  for (const std::string_view prefix : kServiceChains) {
    if (const std::string_view hash = behind(chain, prefix); !hash.empty()) return hash;
  }
  return {};
}

// Cuts the next word off the line. A word in quotes loses them and, into buffer, the backslashes
// that iptables-save puts before each of "\'.
std::string_view take_word(std::string_view& line, std::string& buffer) {
  line.remove_prefix(std::min(line.find_first_not_of(' '), line.size()));
  if (!line.starts_with('"')) {
    const std::string_view word = line.substr(0, line.find(' '));
    line.remove_prefix(word.size());
    return word;
  }
  buffer.clear();
  std::size_t i = 1;
  for (; i < line.size() && line[i] != '"'; ++i) {
    if (line[i] == '\\' && i + 1 < line.size()) ++i;
    buffer += line[i];
  }
  line.remove_prefix(std::min(i + 1, line.size()));
  return buffer;
}

// "10.96.0.1/32", or without the length.
std::optional<Cidr> parse_network(std::string_view text) {
  if (text.find('/') != std::string_view::npos) return parse_cidr(text);
  const std::optional<Address> address = parse_address(text);
  if (!address) return std::nullopt;
  return Cidr{*address, static_cast<std::uint8_t>(address->v6 ? 128 : 32)};
}

// "10.244.0.6:8080" or "[fd00::6]:8080".
std::optional<Endpoint> parse_target(std::string_view text) {
  const std::size_t colon = text.rfind(':');
  if (colon == std::string_view::npos) return std::nullopt;
  std::string_view host = text.substr(0, colon);
  if (host.starts_with('[') && host.ends_with(']')) host = host.substr(1, host.size() - 2);
  const std::optional<Address> address = parse_address(host);
  const std::optional<std::uint16_t> port = parse_port(text.substr(colon + 1));
  if (!address || !port) return std::nullopt;
  return Endpoint{*address, *port};
}

// "8080", or "80,443" of multiport; a range is none of either.
std::vector<std::uint16_t> parse_ports(std::string_view text) {
  std::vector<std::uint16_t> ports;
  while (!text.empty()) {
    const std::string_view word = text.substr(0, text.find(','));
    text.remove_prefix(std::min(word.size() + 1, text.size()));
    const std::optional<std::uint16_t> port = parse_port(word);
    if (!port) return {};
    ports.push_back(*port);
  }
  return ports;
}

using Kind = ServiceFrontend::Kind;

// What kube-proxy says of an address behind the service's name.
std::optional<Kind> kind_of(std::string_view words) {
  if (words == " cluster IP") return Kind::kClusterIp;
  if (words == " external IP" || words == " loadbalancer IP") return Kind::kExternal;
  return std::nullopt;
}

// The id in portmap's comment: dnat name: "kindnet" id: "…".
std::string sandbox_of(std::string_view comment) {
  constexpr std::string_view kMark = "id: \"";
  const std::size_t start = comment.find(kMark);
  if (start == std::string_view::npos) return {};
  comment.remove_prefix(start + kMark.size());
  return std::string(comment.substr(0, comment.find('"')));
}

}  // namespace

// What a rule says, as far as it is of use here.
struct KubeIptablesReader::Rule {
  std::string_view chain;
  std::string comment;
  std::string_view target;  // of -j or -g
  std::optional<Cidr> destination;
  std::optional<std::uint8_t> protocol;
  std::vector<std::uint16_t> ports;
  std::optional<Endpoint> to;  // of DNAT
  bool sets_recent = false;

  static Rule parse(std::string_view line);

  // The address that the rule is for, if it is one.
  std::optional<Address> address() const {
    const std::uint8_t whole = destination && destination->network.v6 ? 128 : 32;
    if (!destination || destination->prefix_length != whole) return std::nullopt;
    return destination->network;
  }
};

// line: behind "-A ".
KubeIptablesReader::Rule KubeIptablesReader::Rule::parse(std::string_view line) {
  Rule rule;
  std::string buffer;
  rule.chain = take_word(line, buffer);
  bool is_negated = false;
  while (!line.empty()) {
    const std::string_view option = take_word(line, buffer);
    const auto value = [&] { return take_word(line, buffer); };
    if (option == "-j" || option == "-g") {
      rule.target = value();
      if (rule.target.data() == buffer.data()) rule.target = {};
    } else if (option == "--comment") {
      rule.comment = value();
    } else if (option == "-d") {
      const auto network = parse_network(value());
      if (!is_negated) rule.destination = network;
    } else if (option == "-p") {
      const auto protocol = service_protocol(value());
      if (!is_negated) rule.protocol = protocol;
    } else if (option == "--dport" || option == "--dports") {
      auto ports = parse_ports(value());
      if (!is_negated) rule.ports = std::move(ports);
    } else if (option == "--to-destination") {
      rule.to = parse_target(value());
    } else if (option == "--set") {
      rule.sets_recent = true;
    }
    is_negated = option == "!";
  }
  return rule;
}

void KubeIptablesReader::feed(std::string_view piece) {
  rest_ += piece;
  std::size_t start = 0;
  std::size_t i = scanned_;
  for (; i < rest_.size(); ++i) {
    const char c = rest_[i];
    if (c == '\\' && in_quotes_) {
      if (i + 1 == rest_.size()) break;  // what it stands before is in the next piece
      ++i;
    } else if (c == '"') {
      const bool begins_word = i > start && rest_[i - 1] == ' ';
      in_quotes_ = !in_quotes_ && begins_word;  // as take_word() has it
    } else if (c == '\n' && (!in_quotes_ || i - start > kLineMax)) {
      // A comment may hold line breaks, but none goes on for ever.
      if (!is_too_long_) take_line(std::string_view(rest_).substr(start, i - start));
      is_too_long_ = false;
      in_quotes_ = false;
      start = i + 1;
    }
  }
  rest_.erase(0, start);
  scanned_ = i - start;
  if (rest_.size() <= kLineMax) return;
  if (!is_too_long_) builder_.pass_over();
  is_too_long_ = true;
  rest_.clear();
  scanned_ = 0;
  in_quotes_ = false;
}

void KubeIptablesReader::take_line(std::string_view line) {
  if (line.starts_with('*')) {
    table_ = line.substr(1);
    return;
  }
  const std::string_view options = behind(line, "-A ");
  if (!options.starts_with("KUBE-") && !options.starts_with("CNI-")) return;
  const bool is_nat = table_ == "nat";
  if (!is_nat && table_ != "filter") return;
  const Rule rule = Rule::parse(options);
  if (is_nat)
    take_nat(rule);
  else
    take_filter(rule);
}

void KubeIptablesReader::take_nat(const Rule& rule) {
  const bool is_node_port = rule.chain == "KUBE-NODEPORTS";
  if (rule.target == "KUBE-NODEPORTS") {
    if (rule.destination) builder_.limit_node_ports(*rule.destination);
  } else if (is_node_port || rule.chain == "KUBE-SERVICES") {
    if (rule.target != "KUBE-MARK-MASQ") take_portal(rule, is_node_port);  // before 1.24
  } else if (rule.chain.starts_with(kEndpointChain)) {
    take_endpoint(rule);
  } else if (rule.chain.starts_with("CNI-")) {
    take_host_port(rule);
  } else if (const std::string_view hash = service_hash(rule.chain); !hash.empty()) {
    const std::string_view endpoint = behind(rule.target, kEndpointChain);
    if (!endpoint.empty() && links_.size() >= kRulesMax) return builder_.pass_over();
    if (!endpoint.empty()) links_.push_back({std::string(hash), std::string(endpoint)});
    if (rule.target.starts_with("KUBE-SVL-") && rule.chain.starts_with("KUBE-EXT-"))
      external_local_.emplace_back(hash);
  }
}

// "NS/SVC:PORT cluster IP" and its kin lead to a chain of the service.
void KubeIptablesReader::take_portal(const Rule& rule, bool is_node_port) {
  const std::string_view comment = rule.comment;
  const std::size_t space = std::min(comment.find(' '), comment.size());
  const std::string_view what = comment.substr(space);
  const std::string_view hash = service_hash(rule.target);
  const auto address = rule.address();
  const auto kind = is_node_port ? std::optional(Kind::kNodePort) : kind_of(what);
  const bool is_whole = address.has_value() != is_node_port && rule.ports.size() == 1;
  if (hash.empty() || !kind || !rule.protocol || !is_whole || (is_node_port && !what.empty()))
    return builder_.pass_over();
  const auto service = builder_.service(comment.substr(0, space), *rule.protocol);
  if (!service) return;
  const ServiceFrontend frontend{address, v6_, rule.ports[0], *kind, Backing::kEndpoints};
  builder_.add_frontend(*service, frontend);
  if (frontend.kind == Kind::kClusterIp && rule.target.starts_with("KUBE-SVL-"))
    builder_.at(*service).internal_local = true;
  if (rule.target.starts_with("KUBE-FW-")) builder_.at(*service).source_ranges = true;
  if (services_.size() < kRulesMax) services_.push_back({std::string(hash), *service});
}

void KubeIptablesReader::take_endpoint(const Rule& rule) {
  if (rule.target != "DNAT") return;
  if (!rule.to || endpoints_.size() >= kRulesMax) return builder_.pass_over();
  const std::string hash(behind(rule.chain, kEndpointChain));
  endpoints_.push_back({hash, *rule.to, rule.sets_recent});
}

void KubeIptablesReader::take_filter(const Rule& rule) {
  if (rule.chain == "KUBE-SERVICES" || rule.chain == "KUBE-EXTERNAL-SERVICES") {
    take_refusal(rule);
  } else if (rule.chain == "KUBE-PROXY-FIREWALL" && rule.protocol) {
    const std::string_view name = std::string_view(rule.comment).substr(0, rule.comment.find(' '));
    if (const auto service = builder_.service(name, *rule.protocol))
      builder_.at(*service).source_ranges = true;
  }
}

// "NS/SVC:PORT has no endpoints", or "has no local endpoints".
void KubeIptablesReader::take_refusal(const Rule& rule) {
  const std::string_view comment = rule.comment;
  const std::size_t space = std::min(comment.find(' '), comment.size());
  const std::string_view why = comment.substr(space);
  const bool is_local = why == " has no local endpoints";
  if ((!is_local && why != " has no endpoints") || !rule.protocol || rule.ports.size() != 1)
    return builder_.pass_over();
  const auto service = builder_.service(comment.substr(0, space), *rule.protocol);
  if (!service) return;
  const bool is_external = rule.chain == "KUBE-EXTERNAL-SERVICES";
  const auto address = rule.address();
  if (!address && !is_external) return builder_.pass_over();
  Kind kind = is_external ? Kind::kExternal : Kind::kClusterIp;
  if (!address) kind = Kind::kNodePort;
  builder_.add_frontend(*service, {address, v6_, rule.ports[0], kind,
                                   is_local ? Backing::kNoneLocal : Backing::kNone});
  if (!is_local) return;
  Service& of = builder_.at(*service);
  (is_external ? of.external_local : of.internal_local) = true;
}

// CNI-HOSTPORT-DNAT leads ports to chains of their own; in there are the destinations, each behind
// its port.
void KubeIptablesReader::take_host_port(const Rule& rule) {
  if (!rule.chain.starts_with("CNI-DN-") && rule.chain != "CNI-HOSTPORT-DNAT") return;
  const bool is_detail = rule.target == "DNAT";
  const bool is_entry = rule.target.starts_with("CNI-DN-");
  if (!is_detail && !is_entry) return;  // marks
  if (!rule.protocol || rule.ports.empty() || (is_detail && !rule.to) ||
      host_ports_.size() >= kHostPortRulesMax)
    return builder_.pass_over();
  HostPort port{rule.address(), rule.ports[0], *rule.protocol, {}, {}};
  if (is_detail) port.endpoint = *rule.to;
  if (is_entry) port.sandbox = sandbox_of(rule.comment);
  host_ports_.push_back({std::string(is_detail ? rule.chain : rule.target), std::move(port)});
}

void KubeIptablesReader::finish() {
  if (!rest_.empty() && !is_too_long_) take_line(rest_);
  rest_.clear();
  add_endpoints();
  add_host_ports();
}

void KubeIptablesReader::add_endpoints() {
  std::ranges::sort(services_, {}, &NamedService::hash);
  std::ranges::sort(endpoints_, {}, &NamedEndpoint::hash);
  const auto service_of = [&](const std::string& hash) {
    const auto found = std::ranges::lower_bound(services_, hash, {}, &NamedService::hash);
    return found != services_.end() && found->hash == hash ? std::optional(found->service)
                                                           : std::nullopt;
  };
  for (const Link& link : links_) {
    const auto service = service_of(link.from);
    const auto endpoint = std::ranges::lower_bound(endpoints_, link.to, {}, &NamedEndpoint::hash);
    if (!service || endpoint == endpoints_.end() || endpoint->hash != link.to) {
      builder_.pass_over();
      continue;
    }
    builder_.add_endpoint(*service, endpoint->endpoint);
    if (endpoint->affinity) builder_.at(*service).affinity = true;
  }
  for (const std::string& hash : external_local_) {
    if (const auto service = service_of(hash)) builder_.at(*service).external_local = true;
  }
}

void KubeIptablesReader::add_host_ports() {
  for (HostPortRule& detail : host_ports_) {
    if (!detail.port.endpoint.port) continue;
    const auto entry = std::ranges::find_if(host_ports_, [&](const HostPortRule& each) {
      return each.chain == detail.chain && !each.port.endpoint.port;
    });
    if (entry != host_ports_.end()) detail.port.sandbox = entry->port.sandbox;
    builder_.add_host_port(detail.port);
  }
}

}  // namespace droptrace
