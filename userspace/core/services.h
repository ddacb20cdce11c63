// SPDX-License-Identifier: GPL-2.0-only
// The services that kube-proxy's rules tell of: what a client dials, under which name, and the
// endpoints behind it. Immutable once built.
#pragma once

#include <compare>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "core/address.h"

namespace droptrace {

// What the rules do with a connection to a frontend.
enum class Backing {
  kEndpoints,  // send it to an endpoint
  kNone,       // reject it: the service has no endpoints
  kNoneLocal,  // drop it: its traffic policy is Local, and no endpoint is on this node
};

// An address and port at which a service is dialled.
struct ServiceFrontend {
  enum class Kind { kClusterIp, kNodePort, kExternal };  // external or load balancer's address

  std::optional<Address> address;  // absent: any address of the node
  bool v6 = false;                 // which IP version's rules have it
  std::uint16_t port = 0;
  Kind kind = Kind::kClusterIp;
  Backing backing = Backing::kEndpoints;

  bool operator==(const ServiceFrontend&) const = default;
};

// One port of a Kubernetes service, in all IP versions.
struct Service {
  std::string ns;
  std::string name;
  std::string port_name;  // empty: the port has none
  std::uint8_t protocol = 0;
  std::vector<ServiceFrontend> frontends;
  std::vector<Endpoint> endpoints;  // those that the rules send connections to, sorted
  bool internal_local = false;      // internalTrafficPolicy: Local
  bool external_local = false;      // externalTrafficPolicy: Local
  bool source_ranges = false;       // loadBalancerSourceRanges are enforced
  bool affinity = false;            // sessionAffinity: ClientIP

  // "NS/NAME:PORTNAME", or "NS/NAME".
  std::string text() const;
};

// A port of the node that the CNI plugin portmap leads to a pod.
struct HostPort {
  std::optional<Address> address;  // absent: any address of the node
  std::uint16_t port = 0;
  std::uint8_t protocol = 0;
  Endpoint endpoint;
  std::string sandbox;  // id of the pod's sandbox; empty: not said

  bool operator==(const HostPort&) const = default;
};

class Services {
 public:
  struct Match {
    const Service* service = nullptr;
    const ServiceFrontend* frontend = nullptr;
  };

  // The service that is dialled at this address (IPPROTO_*, port in host order). of_node: the
  // address is one of the node's own, so that NodePorts count. nullopt if there is none, or if the
  // rules contradict each other.
  std::optional<Match> find(const Address& address, std::uint16_t port, std::uint8_t protocol,
                            bool of_node) const;

  // "NS/NAME" of the only service that has this address, at whichever port.
  std::optional<std::string> name_of(const Address& address) const;

  // The services that send connections to this endpoint.
  std::vector<const Service*> behind(const Endpoint& endpoint, std::uint8_t protocol) const;

  // The pod that the node's port is mapped to; address as in find(), it is one of the node's.
  const HostPort* find_host_port(const Address& address, std::uint16_t port,
                                 std::uint8_t protocol) const;

  const std::vector<Service>& all() const { return services_; }
  const std::vector<HostPort>& host_ports() const { return host_ports_; }

  // Rules in kube-proxy's chains that could not be read, and services above the bound.
  std::uint64_t passed_over() const { return passed_over_; }

 private:
  friend class ServicesBuilder;
  struct Dialled {  // a frontend, as the index orders them
    Address address;
    bool any = false;  // of any address of the node; address then only tells the IP version
    std::uint16_t port = 0;
    std::uint8_t protocol = 0;
    auto operator<=>(const Dialled&) const = default;
  };
  struct Entry {
    Dialled dialled;
    std::uint32_t service = 0;
    std::uint32_t frontend = 0;
  };
  struct Target {
    Endpoint endpoint;
    std::uint8_t protocol = 0;
    std::uint32_t service = 0;
    auto operator<=>(const Target&) const = default;
  };

  std::optional<Match> find(const Dialled& dialled) const;

  std::vector<Service> services_;
  std::vector<HostPort> host_ports_;
  std::vector<Entry> by_frontend_;
  std::vector<Target> by_endpoint_;
  std::vector<Cidr> node_port_networks_;  // empty: all of the node's addresses have NodePorts
  std::uint64_t passed_over_ = 0;
};

// Puts together what several dumps say; the same service may be in more than one.
class ServicesBuilder {
 public:
  // The service of this name, "NS/NAME:PORTNAME" or "NS/NAME", made if it is new. nullopt, and
  // counted, if that is no name that Kubernetes gives, or if there are too many.
  std::optional<std::uint32_t> service(std::string_view text, std::uint8_t protocol);

  Service& at(std::uint32_t service) { return services_.services_[service]; }
  void add_frontend(std::uint32_t service, const ServiceFrontend& frontend);
  void add_endpoint(std::uint32_t service, const Endpoint& endpoint);
  void add_host_port(HostPort port);
  // NodePorts are open at the node's addresses in this network (and others so added) only.
  void limit_node_ports(const Cidr& network);
  void pass_over() { ++services_.passed_over_; }

  Services build() &&;

 private:
  void index_frontends();
  void index_endpoints();

  Services services_;
  std::unordered_map<std::string, std::uint32_t> by_name_;
  std::size_t endpoints_ = 0;
};

// A protocol as iptables-save and kube-proxy's chain names have it: "tcp", "udp", "sctp" or their
// numbers; nullopt if it is no other.
std::optional<std::uint8_t> service_protocol(std::string_view text);

// A port number; nullopt if the text is not one.
std::optional<std::uint16_t> parse_port(std::string_view text);

}  // namespace droptrace
