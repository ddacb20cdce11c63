// SPDX-License-Identifier: GPL-2.0-only
// Expressions and values of nft's JSON, without what rules and sets make of them.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include <nlohmann/json.hpp>

#include "core/rule_match.h"

namespace droptrace {

// nullptr if it is no object or has no such member.
const nlohmann::json* member(const nlohmann::json& object, const char* key);
// Empty if there is no such string.
std::string_view text_of(const nlohmann::json* value);
std::string_view text_of(const nlohmann::json& object, const char* key);
// nullptr if it is no list.
const nlohmann::json::array_t* list_of(const nlohmann::json* value);
// The only member of an object such as {"drop": null}; nullptr if it is anything else. key is valid
// as long as the object.
const nlohmann::json* only_member(const nlohmann::json& object, std::string_view& key);

// What an expression reads: {"meta": {"key": "mark"}}, {"&": […]}; Field::kUnknown if it is none
// that we know.
Operand operand_of(const nlohmann::json& expression, int depth = 0);
// Of {"concat": […]} one for each part.
std::vector<Operand> operands_of(const nlohmann::json& expression);
// Of the type of a set: "ipv4_addr", ["ipv4_addr", "inet_service"].
std::vector<Operand> operands_of_type(const nlohmann::json* type);

// The bits of one word, or of several: "syn", ["syn", "ack"], {"|": ["syn", "ack"]}, 2.
std::optional<std::uint32_t> bits_of(const nlohmann::json& value, const Operand& operand,
                                     int depth = 0);
// One part of a key: a value, {"range": [a, b]}, {"prefix": …}, "eth*".
std::optional<Range> range_of(const nlohmann::json& value, const Operand& operand);
// As nft prints it.
std::string shown_value(const nlohmann::json& value, const Operand& operand);

}  // namespace droptrace
