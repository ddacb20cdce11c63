// SPDX-License-Identifier: GPL-2.0-only
#include "kernel/kernel_check.h"

#include <linux/bpf.h>
#include <sys/utsname.h>
#include <unistd.h>

#include <cerrno>
#include <optional>

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <fmt/format.h>

#include "core/address.h"
#include "kernel/error.h"
#include "kernel/files.h"
#include "kernel/netlink.h"
#include "kernel/netns.h"
#include "kernel/trace_table.h"
#include "kernel/try_program.h"

namespace droptrace {

namespace {

struct ProgramType {
  const char* id;
  bpf_prog_type type;
  std::optional<bpf_attach_type> attach;
  const char* target;  // in BTF; nullptr: none is needed
};

constexpr ProgramType kProgramTypes[] = {
    {"tp_btf", BPF_PROG_TYPE_TRACING, BPF_TRACE_RAW_TP, "kfree_skb"},
    {"fentry", BPF_PROG_TYPE_TRACING, BPF_TRACE_FENTRY, "nf_hook_slow"},
    {"kprobe", BPF_PROG_TYPE_KPROBE, std::nullopt, nullptr},
    {"raw-tracepoint", BPF_PROG_TYPE_RAW_TRACEPOINT, std::nullopt, nullptr},
};

int try_to_load(const ProgramType& program) {
  if (!program.target) return try_program(program.type, {}, 0);
  const int id = libbpf_find_vmlinux_btf_id(program.target, *program.attach);
  return id < 0 ? -id : try_program(program.type, *program.attach, static_cast<std::uint32_t>(id));
}

Finding check_lockdown() {
  const auto lockdown = read_file("/sys/kernel/security/lockdown");
  if (!lockdown) return {Level::kOk, "lockdown", "there is no lockdown, or it cannot be read", ""};
  const std::size_t start = lockdown->find('[');
  const std::size_t end = lockdown->find(']');
  const std::string mode = start < end ? lockdown->substr(start + 1, end - start - 1) : "?";
  if (mode == "confidentiality")
    return {Level::kFail, "lockdown", "lockdown forbids BPF to read kernel memory",
            "boot with lockdown=integrity"};
  return {Level::kOk, "lockdown", "lockdown mode is " + mode, ""};
}

}  // namespace

std::vector<Finding> check_kernel() {
  libbpf_set_print(nullptr);  // what does not load is a finding
  std::vector<Finding> all;
  utsname name{};
  ::uname(&name);
  all.push_back({Level::kInfo, "release", fmt::format("{} {}", name.sysname, name.release), ""});
  all.push_back(check_lockdown());
  const bool has_btf = ::access("/sys/kernel/btf/vmlinux", R_OK) == 0;
  all.push_back({has_btf ? Level::kOk : Level::kFail, "btf",
                 has_btf ? "the kernel describes its types (BTF)" : "the kernel has no BTF",
                 has_btf ? "" : "use a kernel built with CONFIG_DEBUG_INFO_BTF"});
  const auto restrict = read_number("/proc/sys/kernel/kptr_restrict");
  const bool hidden = restrict.value_or(0) > 1;
  all.push_back(
      {hidden ? Level::kWarn : Level::kOk, "kptr-restrict",
       restrict ? fmt::format("kernel.kptr_restrict is {}", * restrict)
                : "kernel.kptr_restrict cannot be read",
       hidden ? "sysctl -w kernel.kptr_restrict=1, or there are no names of functions" : ""});
  for (const ProgramType& type : kProgramTypes) {
    const int error = try_to_load(type);
    all.push_back({Level::kInfo, std::string("program-type-") + type.id,
                   error == 0
                       ? std::string(type.id) + " programs load"
                       : fmt::format("{} programs do not load: {}", type.id, errno_text(error)),
                   ""});
  }
  return all;
}

Finding check_rule_tracing() {
  Finding finding{Level::kInfo, "trace", "", ""};
  const NetnsSwitch netns;
  const bool entered = netns.run_in_new([&] {
    auto socket = NetlinkSocket::open(NETLINK_NETFILTER);
    bool owned = false;
    const TraceScope scope{{*parse_cidr("10.96.0.0/12")}, false};
    const int error = socket ? add_trace_table(*socket, scope, owned) : errno;
    if (error != 0)
      finding.fact = "packets cannot be traced: " + errno_text(error);
    else
      finding.fact =
          std::string("with --allow-system-changes, the rest of nf_tables' rules; the ") +
          (owned ? "kernel removes the table" : "table is removed at the end");
  });
  if (!entered) finding.fact = "no namespace to try it in: " + errno_text(errno);
  return finding;
}

}  // namespace droptrace
