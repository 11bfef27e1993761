// ModuleHooks: what a way of running a model in parallel does around every module of PyTorch, and ModuleInit: what it
// does with a module's parameters once the module is made. Models whose modules tell of themselves are marked
// (Architecture::tells_modules).
#pragma once

#include <compare>
#include <initializer_list>
#include <utility>
#include <vector>

#include "tape/tape.h"

namespace vramwise::tape {

/// A module by an address that no other one has, or as one of several that share it.
struct ModuleId {
  const void* address;
  int number;

  ModuleId(const void* address, int number = 0) : address(address), number(number) {}  // NOLINT(*-explicit-*)
  auto operator<=>(const ModuleId&) const = default;
};

class ModuleHooks {
 public:
  virtual ~ModuleHooks() = default;
  /// forward() of a module with these parameters of its own is to run.
  virtual void enter(ModuleId module, std::initializer_list<const Tensor*> parameters) = 0;
  /// A positional argument, as forward() gets it. Those with names stay as they are.
  virtual Tensor input(ModuleId module, const Tensor& x) = 0;
  /// forward() has run.
  virtual void leave(ModuleId module) = 0;
  /// A tensor of its result, as the caller gets it.
  virtual Tensor output(ModuleId module, const Tensor& x) = 0;
};

class ModuleInit {
 public:
  virtual ~ModuleInit() = default;
  /// A module is made that has these parameters of its own, on the device.
  virtual void take(const std::vector<Tensor>& parameters) = 0;
  /// A module is made whose only parameter will be replaced by another module's (tie_weights).
  virtual void take_replaced(Tensor parameter) = 0;
};

/// module(x): forward() with the tape's hooks around it. `forward` takes and returns a tensor.
template <typename Forward>
Tensor call_module(ModuleId module, std::initializer_list<const Tensor*> parameters, const Tensor& x, Forward forward) {
  ModuleHooks* hooks = x.tape().module_hooks();
  if (hooks == nullptr) return forward(x);
  hooks->enter(module, parameters);
  const Tensor seen = hooks->input(module, x);
  const Tensor out = forward(seen);
  hooks->leave(module);
  return hooks->output(module, out);
}

/// module(x=…) of a module that has no parameters of its own.
template <typename Forward>
Tensor call_module_by_name(Tape& tape, ModuleId module, Forward forward) {
  ModuleHooks* hooks = tape.module_hooks();
  if (hooks == nullptr) return forward();
  hooks->enter(module, {});
  const Tensor out = forward();
  hooks->leave(module);
  return hooks->output(module, out);
}

}  // namespace vramwise::tape
