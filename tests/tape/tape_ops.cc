// tape_ops: runs programs of ops on a tape and prints the allocations and releases of each.
//
//   tape_ops 86 82 < cases.json      # capability, streaming multiprocessors
//
// A case: {"inputs": [{"name", "size", "dtype", "grad", "layout": [[op, args], …]}, …],
//          "body": [[[outputs], op, [inputs], {arguments}], …], "backward": name or null,
//          "autocast": type?, "block": {"begin", "end", "input", "output"}?: those statements are checkpointed,
//          "optimizer": {"name", "how", "steps", …}?: instead of a body}
// "del" drops its inputs. The answer is a list for each case: [bytes] is an allocation, [-1, n] releases the n-th
// allocation of the case. The state of the process (workspaces of cuBLAS) goes on from case to case.

#include <cstdio>
#include <cstdlib>
#include <deque>
#include <iostream>
#include <memory>
#include <optional>
#include <string>

#include "base/json.h"
#include "op_table.h"
#include "support.h"
#include "tape/engine.h"
#include "tape/optim/optimizer.h"
#include "tape/tape.h"
#include "tape/transforms/autocast.h"
#include "tape/transforms/checkpoint.h"

namespace vramwise::tape {
namespace {

// A Python dict: kept and dropped in the order in which names first appeared.
class Names {
 public:
  Names() = default;
  Names(const Names&) = default;
  Names& operator=(const Names&) = delete;
  ~Names() {
    for (auto& [name, tensor] : entries_) tensor.reset();
  }
  Tensor& operator[](const std::string& name) {
    for (auto& [known, tensor] : entries_) {
      if (known == name) return tensor;
    }
    return entries_.emplace_back(name, Tensor()).second;
  }
  const Tensor& at(const std::string& name) const {
    for (const auto& [known, tensor] : entries_) {
      if (known == name) return tensor;
    }
    VRAMWISE_CHECK_THAT(false, "no name " + name);
    std::abort();
  }
  void erase(const std::string& name) {
    std::erase_if(entries_, [&](const auto& entry) { return entry.first == name; });
  }

 private:
  std::deque<std::pair<std::string, Tensor>> entries_;
};

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

// What a case leaves alive until the next one.
struct Kept {
  std::vector<Tensor> parameters;
  std::unique_ptr<Optimizer> optimizer;
};

// Steps of an optimizer over gradients that appear from nowhere.
void run_optimizer(Tape& tape, const Json& program, Kept& kept) {
  std::vector<Tensor>& parameters = kept.parameters;
  for (const auto& input : program.at("inputs")) parameters.push_back(make_input(tape, input));
  const Json& described = program.at("optimizer");
  kept.optimizer = make_optimizer(described, parameters);
  Optimizer* optimizer = kept.optimizer.get();
  for (int step = 0; step < described.at("steps").get<int>(); ++step) {
    for (const Tensor& parameter : parameters) {
      parameter.set_grad(tape.empty_strided(parameter.sizes(), parameter.strides(), parameter.type()));
    }
    if (described.value("clip", false)) clip_grad_norm(parameters);
    optimizer->step();
    optimizer->zero_grad();
  }
}

// The statements [begin, end) as one checkpointed block of `input`; other names are captured.
Tensor run_block(Tape& tape, const Names& names, const Json& body, const Json& block) {
  const auto begin = block.at("begin").get<std::size_t>();
  const auto end = block.at("end").get<std::size_t>();
  const std::string input = block.at("input");
  return checkpoint(tape,
                    [captured = names, &body, begin, end, input,
                     output = block.at("output").get<std::string>()](const std::vector<Tensor>& in) {
                      Names local = captured;
                      local[input] = in[0];
                      for (std::size_t i = begin; i < end; ++i) run_statement(local, body.at(i));
                      return local.at(output);
                    },
                    {names.at(input)});
}

void run_body(Tape& tape, Names& names, const Json& program) {
  std::optional<Autocast> autocast;
  if (program.contains("autocast")) autocast.emplace(tape, dtype_named(program.at("autocast")));
  const Json& body = program.at("body");
  const Json block = program.value("block", Json());
  for (std::size_t i = 0; i < body.size(); ++i) {
    if (!block.is_null() && i == block.at("begin").get<std::size_t>()) {
      Names leaves;
      for (const auto& input : program.at("inputs")) leaves[input.at("name")] = names.at(input.at("name"));
      leaves[block.at("input")] = names.at(block.at("input"));
      Tensor out = run_block(tape, leaves, body, block);
      names[block.at("output")] = std::move(out);
      i = block.at("end").get<std::size_t>() - 1;
      continue;
    }
    run_statement(names, body.at(i));
  }
}

void run_case(Tape& tape, const Json& program, Kept& kept) {
  if (program.contains("optimizer")) return run_optimizer(tape, program, kept);
  Names names;
  for (const auto& input : program.at("inputs")) names[input.at("name")] = make_input(tape, input);
  run_body(tape, names, program);
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
  Kept kept;
  for (const auto& program : cases) {
    kept = {};
    tape.take_events();
    run_case(tape, program, kept);
    std::cout << separator << numbered(tape.take_events()).dump();
    separator = ",\n";
  }
  std::cout << "]\n";
  return 0;
}
