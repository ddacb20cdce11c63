// SPDX-License-Identifier: GPL-2.0-only
// Why a connection died, in words, where more can be told than which function freed its packet.
#pragma once

#include <string>

namespace droptrace {

struct Cause {
  std::string id;  // stable, in kebab-case
  std::string explanation;
  std::string advice;  // empty: none
};

}  // namespace droptrace
