// SPDX-License-Identifier: GPL-2.0-only
// From the command line and what the node has to the parts of a tracer.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "core/world.h"
#include "kernel/bpf_object.h"
#include "kernel/cluster_loader.h"
#include "kernel/kernel_types.h"
#include "kernel/netns.h"
#include "kernel/node_scope.h"
#include "options.h"
#include "recording/event_json.h"
#include "report/metrics.h"
#include "sink/sink.h"
#include "sink/text.h"

namespace droptrace {

bool wants_color(ColorMode mode);

std::unique_ptr<Sink> make_sink(const Options& options);

// Of the text of a recording.
TextOptions plain_text();

Environment environment(const Options& options, const ClusterNetworks& networks);

// The CIDRs that the options give, else those found on the node.
ClusterNetworks cluster_networks(const Options& options);

// With which file the API server is to be asked for names; empty: not at all.
std::string kubeconfig_of(const Options& options);

MetricsNow metrics_now(const Options& options, Totals totals, const BpfObject& bpf);

std::vector<Cidr> all_cidrs(const ClusterNetworks& networks);

// "10.96.0.0/16, fd00:10:96::/112 (/kind/kubeadm.conf)"
std::string describe(const CidrList& list);

BpfOptions bpf_options(const Options& options, const NodeScope& scope, const KernelTypes& types);

// The namespaces to watch: the chosen ones, else the node's that live and, for packets that are its
// own, the Docker host's.
std::map<std::uint32_t, Watch> wanted_namespaces(const Options& options,
                                                 const std::set<std::uint32_t>& chosen,
                                                 const std::map<std::uint32_t, NetnsRef>& live,
                                                 const std::set<std::uint32_t>& hosts);

// "4 network namespaces", for the header; hosts: of the Docker host.
std::string describe_watched(const std::set<std::uint32_t>& watched,
                             const std::set<std::uint32_t>& hosts);

// Creates --ready-file; empty: none is wanted. Throws Error if it cannot.
void announce_ready(const std::string& path);

// Of the self-test.
std::string_view describe_engine(const std::string& engine);

// --netns as inode numbers. Throws Error for a namespace that does not exist: a mistake worth
// stopping for.
std::set<std::uint32_t> resolve_all(const std::vector<std::string>& arguments);

// Throws Error (exit status 4) if the privileges or the kernel's types do not suffice for tracing.
KernelTypes types_with_privileges();

}  // namespace droptrace
