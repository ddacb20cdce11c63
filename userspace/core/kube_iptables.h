// SPDX-License-Identifier: GPL-2.0-only
// Reads services from kube-proxy's iptables mode, and hostPorts from the CNI plugin portmap: what
// iptables-save prints, piece by piece as it comes, so that the rules of 10,000 services are never
// held in memory, nor read in one go.
//
// A service's name stands in comments, which kube-proxy writes and only root can; the hashes in the
// names of chains are taken as links between rules, and not computed: they confirm a name, but
// nothing can be read from them.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "core/address.h"
#include "core/services.h"

namespace droptrace {

class KubeIptablesReader {
 public:
  // v6: the text is of ip6tables-save. builder must outlive the reader.
  KubeIptablesReader(ServicesBuilder& builder, bool v6) : builder_(builder), v6_(v6) {}

  // Takes the next piece of the text. Whatever is in it, none of it is an error.
  void feed(std::string_view piece);

  // Call once after the last piece: joins the rules that name services with those that name
  // endpoints.
  void finish();

 private:
  // A chain's name without its prefix, such as the hash of KUBE-SVC-NPX46M4PTMTKRN6Y.
  struct Link {
    std::string from;  // of a service
    std::string to;    // of an endpoint
  };
  struct NamedService {
    std::string hash;
    std::uint32_t service = 0;
  };
  struct NamedEndpoint {
    std::string hash;
    Endpoint endpoint;
    bool affinity = false;
  };
  struct HostPortRule {
    std::string chain;
    HostPort port;
  };
  struct Rule;

  void take_line(std::string_view line);
  void take_nat(const Rule& rule);
  void take_filter(const Rule& rule);
  void take_portal(const Rule& rule, bool is_node_port);
  void take_refusal(const Rule& rule);
  void take_endpoint(const Rule& rule);
  void take_host_port(const Rule& rule);
  void add_endpoints();
  void add_host_ports();

  ServicesBuilder& builder_;
  bool v6_;
  std::string rest_;          // of the last piece: a line without its end
  std::size_t scanned_ = 0;   // so much of it has no end of a line
  bool in_quotes_ = false;    // where it was scanned to
  bool is_too_long_ = false;  // the line that it belongs to is passed over
  std::string table_;
  std::vector<NamedService> services_;
  std::vector<Link> links_;
  std::vector<std::string> external_local_;
  std::vector<NamedEndpoint> endpoints_;
  std::vector<HostPortRule> host_ports_;
};

}  // namespace droptrace
