// SPDX-License-Identifier: GPL-2.0-only
#include "kernel/privileges.h"

#include <linux/capability.h>

#include <cerrno>
#include <charconv>
#include <cstdint>

#include "kernel/error.h"
#include "kernel/files.h"

namespace droptrace {

namespace {

std::uint64_t effective_capabilities() {
  const auto status = read_file("/proc/self/status");
  constexpr std::string_view key = "CapEff:\t";
  const auto at = status ? status->find(key) : std::string::npos;
  if (at == std::string::npos)
    throw Error("cannot read /proc/self/status: is /proc mounted?", kExitUnsupported);
  std::uint64_t bits = 0;
  std::from_chars(status->data() + at + key.size(), status->data() + status->size(), bits, 16);
  return bits;
}

bool has(std::uint64_t capabilities, unsigned capability) {
  return (capabilities >> capability & 1U) != 0;
}

// A container gets its filter when it is made: no docker exec takes it away.
bool has_seccomp_filter() {
  const auto status = read_file("/proc/self/status");
  return status && status->find("\nSeccomp:\t2") != std::string::npos;
}

}  // namespace

void require_tracing_privileges() {
  // CAP_SYS_ADMIN alone will do: container engines older than Linux 5.8 know no CAP_BPF.
  const std::uint64_t capabilities = effective_capabilities();
  if (!has(capabilities, CAP_SYS_ADMIN) &&
      !(has(capabilities, CAP_BPF) && has(capabilities, CAP_PERFMON)))
    throw Error(
        "cannot trace: missing CAP_BPF and CAP_PERFMON (or CAP_SYS_ADMIN): run as root, in a "
        "container with `docker exec --privileged`",
        kExitUnsupported);
  const auto lockdown = read_file("/sys/kernel/security/lockdown");
  if (lockdown && lockdown->find("[confidentiality]") != std::string::npos)
    throw Error(
        "cannot trace: kernel lockdown is in confidentiality mode, which forbids BPF to read "
        "kernel memory: boot with lockdown=integrity or without lockdown",
        kExitUnsupported);
}

std::optional<std::string> missing_for_netns() {
  if (has(effective_capabilities(), CAP_SYS_ADMIN)) return std::nullopt;
  return "CAP_SYS_ADMIN is missing";
}

std::string bpf_refusal_hint(int error) {
  switch (error) {
    case EPERM:
      if (has_seccomp_filter())
        return "a seccomp filter may forbid it: in a container use one that was started with "
               "`docker run --privileged` (or --security-opt seccomp=unconfined)";
      return "the kernel refuses: in a user namespace (rootless Kind) BPF cannot be loaded; before "
             "Linux 5.11 a locked-memory limit can be the cause (docker run --ulimit memlock=-1)";
    case ENOMEM:
      return "out of memory: try a smaller --ring-size";
    default:
      return "run with -v for the kernel's own words";
  }
}

void refuse_bpf(const std::string& what, int error) {
  const bool unsupported = error == EPERM || error == EINVAL || error == EACCES ||
                           error == ENOTSUP || error == ENOENT || error == ESRCH;
  throw Error("cannot " + what + ": " + errno_text(error) + ": " + bpf_refusal_hint(error),
              unsupported ? kExitUnsupported : kExitFailed);
}

}  // namespace droptrace
