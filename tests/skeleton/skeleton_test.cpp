// SPDX-License-Identifier: GPL-2.0-only
// The BPF object itself: what it contains, and that the running kernel's verifier takes it.
#include <sys/stat.h>

#include <memory>
#include <string>

#include <bpf/libbpf.h>
#include <doctest/doctest.h>

#include "droptrace/event.h"
#include "droptrace_bpf.skel.h"
#include "droptrace_verdict.skel.h"

#include "kernel/bpf_object.h"
#include "kernel/error.h"
#include "kernel/kernel_types.h"
#include "kernel/verdict_hook.h"

namespace {

using droptrace::BpfObject;
using droptrace::BpfOptions;
using droptrace::DropReasons;
using droptrace::WatchMaps;

struct SkeletonDeleter {
  void operator()(droptrace_bpf* skeleton) const { droptrace_bpf__destroy(skeleton); }
};
using Skeleton = std::unique_ptr<droptrace_bpf, SkeletonDeleter>;

Skeleton open_skeleton() {
  Skeleton skeleton(droptrace_bpf__open());
  REQUIRE(skeleton);
  return skeleton;
}

std::uint32_t own_netns() {
  struct stat status {};
  REQUIRE(::stat("/proc/self/ns/net", &status) == 0);
  return static_cast<std::uint32_t>(status.st_ino);
}

BpfOptions options_for_loading(bool has_reason) {
  BpfOptions options;
  options.has_reason = has_reason;
  options.prefixes = {{*droptrace::parse_cidr("10.96.0.0/12"), true, false},
                      {*droptrace::parse_cidr("fd00::/64"), true, true}};
  return options;
}

}  // namespace

TEST_SUITE_BEGIN("open");

TEST_CASE("no program is on unless the loader asks for it") {
  const Skeleton skeleton = open_skeleton();
  bpf_program* program = nullptr;
  bpf_object__for_each_program(program, skeleton->obj) {
    CHECK_FALSE(bpf_program__autoload(program));
  }
}

TEST_CASE("both variants of the mandatory program are there") {
  const Skeleton skeleton = open_skeleton();
  for (const bpf_program* program :
       {skeleton->progs.dt_drop, skeleton->progs.dt_drop_without_reason})
    CHECK(std::string(bpf_program__section_name(program)) == "tp_btf/kfree_skb");
}

TEST_CASE("maps hold what the ABI says") {
  const Skeleton skeleton = open_skeleton();
  CHECK(bpf_map__key_size(skeleton->maps.dt_cidrs4) == sizeof(dt_cidr4));
  CHECK(bpf_map__key_size(skeleton->maps.dt_cidrs6) == sizeof(dt_cidr6));
  CHECK(bpf_map__value_size(skeleton->maps.dt_stats) == sizeof(dt_stats));
  CHECK(bpf_map__max_entries(skeleton->maps.dt_netns) == DT_NETNS_MAX);
  CHECK(skeleton->rodata->dt_config.snaplen == 128);
}

TEST_CASE("notes of verdicts are shared by two objects that agree on them") {
  const Skeleton skeleton = open_skeleton();
  droptrace_verdict* notes = droptrace_verdict__open();
  REQUIRE(notes);
  CHECK(bpf_map__value_size(notes->maps.dt_verdicts) == sizeof(dt_verdict));
  CHECK(bpf_map__value_size(skeleton->maps.dt_verdicts) == sizeof(dt_verdict));
  bpf_program* program = nullptr;
  bpf_object__for_each_program(program, notes->obj) { CHECK_FALSE(bpf_program__autoload(program)); }
  droptrace_verdict__destroy(notes);
}

TEST_SUITE_END();

TEST_SUITE_BEGIN("load");

TEST_CASE("the running kernel takes the program that fits its tracepoint") {
  const auto types = droptrace::read_kernel_types();
  const DropReasons reasons(types.drop_reason_enums);
  const WatchMaps maps;
  BpfObject object(maps, options_for_loading(types.kfree_skb_has_reason), reasons);
  object.attach();
  const char* fitting = types.kfree_skb_has_reason ? "dt_drop" : "dt_drop_without_reason";
  CHECK(object.programs().at(fitting) == "attached");
}

TEST_CASE("the program for kernels without reasons loads here, too") {
  const auto types = droptrace::read_kernel_types();
  const DropReasons reasons(types.drop_reason_enums);
  const WatchMaps maps;
  BpfObject object(maps, options_for_loading(false), reasons);
  object.attach();
  CHECK(object.programs().at("dt_drop_without_reason") == "attached");
  CHECK(object.programs().at("dt_drop") == "not used");
}

TEST_CASE("every combination of filters passes the verifier") {
  const auto types = droptrace::read_kernel_types();
  const DropReasons reasons(types.drop_reason_enums);
  for (const bool filter_netns : {false, true}) {
    for (const bool filter_cidrs : {false, true}) {
      for (const std::uint32_t snaplen : {64U, 256U}) {
        BpfOptions options = options_for_loading(types.kfree_skb_has_reason);
        options.filter_netns = filter_netns;
        options.filter_cidrs = filter_cidrs;
        options.stack_always = filter_netns;
        options.snaplen = snaplen;
        CHECK_NOTHROW(BpfObject(WatchMaps(), options, reasons));
      }
    }
  }
}

TEST_CASE(
    "programs on verdicts are attached, or the kernel's reason is told and nothing else lost") {
  using droptrace::VerdictHook;
  const auto types = droptrace::read_kernel_types();
  const DropReasons reasons(types.drop_reason_enums);
  const WatchMaps maps;
  BpfObject object(maps, options_for_loading(types.kfree_skb_has_reason), reasons);
  object.attach();
  for (const auto kind : {VerdictHook::Kind::kFentry, VerdictHook::Kind::kKprobe}) {
    try {
      const VerdictHook hook(kind, types, object.verdicts_fd());
    } catch (const droptrace::Error& refusal) {
      MESSAGE(std::string(refusal.what()));
      CHECK_FALSE(std::string(refusal.what()).empty());
    }
  }
  CHECK(object.counters().lost.empty());
}

TEST_CASE("namespaces can be watched and left, and counters start at zero") {
  const auto types = droptrace::read_kernel_types();
  const DropReasons reasons(types.drop_reason_enums);
  const WatchMaps maps;
  BpfObject object(maps, options_for_loading(types.kfree_skb_has_reason), reasons);
  CHECK(maps.watch_netns(own_netns(), droptrace::Watch::kCluster));
  maps.unwatch_netns(own_netns());
  const auto counters = object.counters();
  CHECK(counters.seen == 0);
  CHECK(counters.lost.empty());
}

TEST_SUITE_END();
