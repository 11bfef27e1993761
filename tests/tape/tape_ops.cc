// tape_ops: runs programs of ops on a tape and prints the allocations and releases of each.
//
//   tape_ops 86 82 < cases.json      # capability, streaming multiprocessors
//
// A case: {"inputs": [{"name", "size", "dtype", "grad", "layout": [[op, args], …]}, …],
//          "body": [[[outputs], op, [inputs], {arguments}], …], "backward": name or null}
// "del" drops its inputs. The answer is a list for each case: [bytes] is an allocation, [-1, n] releases the n-th
// allocation of the case. The state of the process (workspaces of cuBLAS) goes on from case to case.

#include <cstdio>
#include <iostream>
#include <map>
#include <string>
#include <unordered_map>

#include "base/json.h"
#include "op_table.h"
#include "tape/engine.h"
#include "tape/tape.h"

namespace vramwise::tape {
namespace {

using Names = std::map<std::string, Tensor>;

Tensor make_input(Tape& tape, const Json& input) {
  Dims sizes;
  for (const auto& value : input.at("size")) sizes.push_back(value.get<std::int64_t>());
  Tensor tensor = tape.empty(sizes, dtype_named(input.at("dtype")));
  for (const auto& step : input.value("layout", Json::array())) {
    tensor = run_op(step.at(0), Call{.in = {tensor}, .args = step.at(1)}).front();
  }
  if (!input.value("layout", Json::array()).empty())
    tensor = tape.alias(tensor, tensor.sizes(), tensor.strides(), tensor->offset);
  tensor->requires_grad = input.value("grad", false);
  return tensor;
}

void run_statement(Names& names, const Json& statement) {
  const std::string op = statement.at(1);
  if (op == "del") {
    for (const auto& name : statement.at(2)) names.erase(name.get<std::string>());
    return;
  }
  Call call;
  for (const auto& name : statement.at(2)) call.in.push_back(names.at(name.get<std::string>()));
  call.args = statement.size() > 3 ? statement.at(3) : Json::object();
  std::vector<Tensor> results = run_op(op, call);
  call.in.clear();
  std::size_t i = 0;
  for (const auto& name : statement.at(0)) names[name.get<std::string>()] = std::move(results.at(i++));
}

void run_case(Tape& tape, const Json& program) {
  Names names;
  for (const auto& input : program.at("inputs")) names[input.at("name")] = make_input(tape, input);
  for (const auto& statement : program.at("body")) run_statement(names, statement);
  if (!program.at("backward").is_null()) {
    const Tensor root = names.at(program.at("backward").get<std::string>());
    if (root.requires_grad()) backward(root, tape.empty(root.sizes(), root.type()));
  }
  // As the other side drops its names: in the order in which they were made.
  for (const auto& input : program.at("inputs")) names.erase(input.at("name").get<std::string>());
  for (const auto& statement : program.at("body")) {
    for (const auto& name : statement.at(0)) names.erase(name.get<std::string>());
  }
}

Json numbered(const EventList& events) {
  Json out = Json::array();
  std::unordered_map<AllocationId, int> number;
  int count = 0;
  for (const AllocationEvent& event : events) {
    if (event.kind == EventKind::kAllocate) {
      number[event.id] = count++;
      out.push_back({event.bytes});
    } else if (event.kind == EventKind::kFree) {
      const auto found = number.find(event.id);
      out.push_back({-1, found == number.end() ? -1 : found->second});
    }
  }
  return out;
}

}  // namespace
}  // namespace vramwise::tape

int main(int argc, char** argv) {
  using namespace vramwise;
  using namespace vramwise::tape;
  if (argc != 3) {
    std::fputs("usage: tape_ops CAPABILITY SM_COUNT < cases.json\n", stderr);
    return 2;
  }
  Tape tape(Hardware::of(std::stoi(argv[1]), std::stoi(argv[2])));
  const Json cases = Json::parse(std::cin);
  std::cout << "[";
  const char* separator = "";
  for (const auto& program : cases) {
    run_case(tape, program);
    std::cout << separator << numbered(tape.take_events()).dump();
    separator = ",\n";
  }
  std::cout << "]\n";
  return 0;
}
