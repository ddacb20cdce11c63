// SPDX-License-Identifier: GPL-2.0-only
#include "kernel/try_program.h"

#include <cerrno>
#include <iterator>

#include <bpf/bpf.h>

#include "kernel/unique_fd.h"

namespace droptrace {

int try_program(bpf_prog_type type, bpf_attach_type attach, std::uint32_t btf_id) {
  const bpf_insn nothing[] = {
      {.code = BPF_ALU64 | BPF_MOV | BPF_K, .dst_reg = 0, .src_reg = 0, .off = 0, .imm = 0},
      {.code = BPF_JMP | BPF_EXIT, .dst_reg = 0, .src_reg = 0, .off = 0, .imm = 0}};
  bpf_prog_load_opts options{};
  options.sz = sizeof(options);
  if (btf_id != 0) {
    options.attach_btf_id = btf_id;
    options.expected_attach_type = attach;
  }
  const UniqueFd loaded(
      bpf_prog_load(type, "dt_check", "GPL", nothing, std::size(nothing), &options));
  return loaded.valid() ? 0 : errno;
}

}  // namespace droptrace
