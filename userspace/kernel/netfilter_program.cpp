// SPDX-License-Identifier: GPL-2.0-only
#include "kernel/netfilter_program.h"

#include <linux/bpf.h>
#include <linux/netfilter.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cstddef>
#include <iterator>
#include <utility>

namespace droptrace {

namespace {

// As include/uapi/linux/bpf.h has them since Linux 6.4, which headers of older ones do not.
constexpr std::uint32_t kProgramTypeNetfilter = 32;
constexpr std::uint32_t kAttachNetfilter = 45;

struct LinkCreate {
  std::uint32_t program;
  std::uint32_t target;
  std::uint32_t attach_type;
  std::uint32_t flags;
  std::uint32_t family;
  std::uint32_t hook;
  std::int32_t priority;
  std::uint32_t netfilter_flags;
};

UniqueFd bpf(int command, void* attributes, std::size_t size) {
  return UniqueFd(static_cast<int>(::syscall(SYS_bpf, command, attributes, size)));
}

}  // namespace

std::optional<NetfilterProgram> NetfilterProgram::load(std::uint32_t verdict) {
  bpf_insn instructions[] = {
      {.code = BPF_ALU64 | BPF_MOV | BPF_K,
       .dst_reg = BPF_REG_0,
       .src_reg = 0,
       .off = 0,
       .imm = static_cast<std::int32_t>(verdict)},
      {.code = BPF_JMP | BPF_EXIT, .dst_reg = 0, .src_reg = 0, .off = 0, .imm = 0}};
  bpf_attr attributes{};
  attributes.prog_type = kProgramTypeNetfilter;
  attributes.expected_attach_type = kAttachNetfilter;
  attributes.insns = reinterpret_cast<std::uint64_t>(instructions);
  attributes.insn_cnt = std::size(instructions);
  attributes.license = reinterpret_cast<std::uint64_t>("GPL");
  UniqueFd fd = bpf(BPF_PROG_LOAD, &attributes, sizeof(attributes));
  if (!fd.valid()) return std::nullopt;
  return NetfilterProgram(std::move(fd));
}

UniqueFd NetfilterProgram::attach_to_output(std::int32_t priority) const {
  LinkCreate attributes{};
  attributes.program = static_cast<std::uint32_t>(fd_.get());
  attributes.attach_type = kAttachNetfilter;
  attributes.family = NFPROTO_IPV4;
  attributes.hook = NF_INET_LOCAL_OUT;
  attributes.priority = priority;
  return bpf(BPF_LINK_CREATE, &attributes, sizeof(attributes));
}

}  // namespace droptrace
