// SPDX-License-Identifier: GPL-2.0-only
// Programs on nf_tables' verdicts (bpf/verdict.bpf.c), for kernels whose frames do not tell the
// rule any more when the packet is freed. They cost every packet that passes nf_tables, for as long
// as this object lives; it dies with the process, however that ends.
#pragma once

#include <memory>
#include <string>

#include "kernel/kernel_types.h"
#include "kernel/unique_fd.h"

namespace droptrace {

class VerdictHook {
 public:
  enum class Kind { kFentry, kKprobe };

  // Attaches them and has the kernel call what they are attached to. verdicts: the map dt_verdicts
  // that they fill. Throws Error, whose text says why it cannot be.
  VerdictHook(Kind kind, const KernelTypes& types, int verdicts);
  ~VerdictHook();

 private:
  void load(Kind kind, const KernelTypes& types, int verdicts);
  void enable_calls();

  struct Programs;
  std::unique_ptr<Programs> programs_;
  UniqueFd netns_;  // of our own: holds the rule that enables the calls
};

}  // namespace droptrace
