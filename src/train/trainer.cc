// The run as one object whose methods are its chapters: prepare, resume or start, loop, finish.
#include "train/trainer.h"

#include <algorithm>
#include <chrono>
#include <cmath>
#include <deque>
#include <memory>
#include <utility>

#include "data/dataset.h"
#include "io/files.h"
#include "run/output_names.h"
#include "train/batch_order.h"
#include "train/checkpoint.h"
#include "train/engine.h"
#include "train/lr_schedule.h"
#include "train/metrics_log.h"
#include "train/out_of_memory.h"
#include "train/sampler.h"
#include "train/step_clock.h"
#include "train/tensor_files.h"

namespace vramwise {
namespace {

class Run {
 public:
  Run(const RunSpec& spec, ProgressSink& progress, const TrainerHooks& hooks, std::optional<FileLock> lock)
      : spec_(spec), progress_(progress), hooks_(hooks), lock_(std::move(lock)) {}

  Result<TrainOutcome> go();

 private:
  Status open_data();
  Status open_folder();
  Status build();
  Status begin();
  Status begin_from_checkpoint(const Checkpoint& checkpoint);
  void carry_position_over(std::int64_t old_seq_len);
  Status begin_from_file();
  Status loop();
  Status one_step();
  Status evaluate();
  Status save();
  Status finish();
  void write_sample();

  void report_step(const StepOutcome& done, double learning_rate);
  void report_out_of_memory(const OutOfMemoryEvent& event);
  void log(const Json& line);
  CheckpointTensors tensors() {
    return {engine_->first().flat().weights, engine_->optimizer().state(),
            [this] { engine_->optimizer().release_pages(); }};
  }
  bool over() const { return outcome_.steps >= spec_.schedule.max_steps || outcome_.reached_target || outcome_.signal; }

  const RunSpec& spec_;
  ProgressSink& progress_;
  const TrainerHooks& hooks_;
  std::optional<FileLock> lock_;
  std::optional<Dataset> data_;
  std::optional<BatchOrder> order_;
  std::vector<std::int64_t> val_starts_;
  std::optional<MemoryProbe> memory_;
  std::unique_ptr<Engine> engine_;
  std::optional<MetricsLog> metrics_;
  StepClock clock_;
  TrainOutcome outcome_;
  std::int64_t sequences_ = 0;  ///< taken so far: the data position
  std::int64_t evaluated_at_ = -1;
  std::int64_t saved_at_ = -1;
};

Status Run::open_data() {
  DataOptions options;
  options.data_dir = spec_.data.data_dir;
  options.tokenizer = spec_.data.tokenizer;
  options.other_cache_dir = join_path(spec_.out_dir, kTokensFolderName);
  VRAMWISE_ASSIGN_OR_RETURN(data_, open_dataset(options));
  for (const std::string& warning : data_->warnings) progress_.on_warning(warning);
  VRAMWISE_RETURN_IF_ERROR(validate_for_training(*data_, spec_.step.seq_len, spec_.model.vocab_size));
  progress_.on_note(data_->description);
  order_.emplace(data_->train.size(), spec_.step.seq_len, spec_.schedule.seed);
  val_starts_ =
      validation_starts(data_->val.size(), spec_.step.seq_len, eval_sequences(spec_.schedule, spec_.step.seq_len));
  return Done{};
}

Status Run::open_folder() {
  VRAMWISE_RETURN_IF_ERROR(make_folders(spec_.out_dir));
  if (!lock_) {
    VRAMWISE_ASSIGN_OR_RETURN(lock_,
                              FileLock::acquire(join_path(spec_.out_dir, kLockFileName), "a run in " + spec_.out_dir));
  }
  remove_leftovers(spec_.out_dir);
  const bool has_some = has_checkpoints(spec_.out_dir);
  if (has_some && !spec_.resume) {
    return usage_error(spec_.out_dir + " holds checkpoints of an earlier run",
                       "Go on with it (--resume), or choose another output folder.");
  }
  return Done{};
}

Status Run::build() {
  torch::manual_seed(spec_.schedule.seed);
  memory_.emplace(spec_.replicas);
  VRAMWISE_ASSIGN_OR_RETURN(
      engine_, Engine::create(spec_, hooks_, [this](const OutOfMemoryEvent& event) { report_out_of_memory(event); }));
  return Done{};
}

Status Run::begin() {
  if (spec_.resume) {
    VRAMWISE_ASSIGN_OR_RETURN(const CheckpointSearch search, find_checkpoint(spec_));
    for (const std::string& warning : search.warnings) progress_.on_warning(warning);
    if (!search.found) {
      return world_error(spec_.out_dir + " holds no checkpoint to go on from",
                         "Leave --resume out to begin there, or check the folder.");
    }
    VRAMWISE_RETURN_IF_ERROR(begin_from_checkpoint(*search.found));
  } else if (!spec_.init_from.empty()) {
    VRAMWISE_RETURN_IF_ERROR(begin_from_file());
  } else {
    engine_->initialize_weights(spec_.schedule.seed);
  }
  VRAMWISE_ASSIGN_OR_RETURN(metrics_, MetricsLog::open(join_path(spec_.out_dir, kMetricsFileName), outcome_.steps));
  return Done{};
}

Status Run::begin_from_checkpoint(const Checkpoint& checkpoint) {
  const RunState& state = checkpoint.state;
  VRAMWISE_RETURN_IF_ERROR(load_checkpoint(checkpoint, engine_->layout(), tensors()));
  VRAMWISE_RETURN_IF_ERROR(engine_->scaler().restore(state.loss_scaler));
  engine_->set_updates(state.updates);
  // What was learnt about memory holds as long as the plan is the same; another plan is a wish to try again.
  if (state.planned_micro_batches == engine_->micro_batches() &&
      state.micro_batches.size() == engine_->micro_batches().size()) {
    engine_->set_micro_batches(state.micro_batches);
  }
  engine_->weights_were_loaded();
  state.random_state.restore();
  outcome_.steps = saved_at_ = state.step;
  outcome_.seconds = state.seconds;
  outcome_.checkpoint = checkpoint.path;
  sequences_ = state.sequences;
  progress_.on_note("going on from " + checkpoint.path);
  if (state.seq_len && *state.seq_len != spec_.step.seq_len) carry_position_over(*state.seq_len);
  if (state.seed != spec_.schedule.seed || state.train_tokens != data_->train.size()) {
    progress_.on_warning(
        "the seed or the training text is not that of the checkpoint, so sequences come in another order");
  }
  return Done{};
}

/// The position in the text stays, counted in tokens; the windows of another length are cut and drawn anew, so the rest
/// of this epoch is not exactly what was not seen yet.
void Run::carry_position_over(std::int64_t old_seq_len) {
  const std::int64_t tokens = sequences_ * old_seq_len;
  sequences_ = (tokens + spec_.step.seq_len - 1) / spec_.step.seq_len;
  progress_.on_warning(c10::str("the checkpoint's sequences have ", old_seq_len, " tokens, this run's have ",
                                spec_.step.seq_len, ": the ", tokens, " tokens seen so far count as ", sequences_,
                                " sequences, and until the epoch ends some text comes twice and some not at all"));
}

Status Run::begin_from_file() {
  const std::string in_folder = join_path(spec_.init_from, "model.safetensors");
  VRAMWISE_ASSIGN_OR_RETURN(const SafetensorsFile file,
                            SafetensorsFile::open(path_exists(in_folder) ? in_folder : spec_.init_from));
  const torch::Tensor& master = engine_->optimizer().state().master;
  const torch::Tensor& target = master.defined() ? master : engine_->first().flat().weights;
  VRAMWISE_RETURN_IF_ERROR(read_flat(file, engine_->layout(), {"", target}));
  engine_->weights_were_loaded();
  progress_.on_note("beginning with the weights of " + file.path());
  return Done{};
}

Status Run::loop() {
  const ScheduleSpec& schedule = spec_.schedule;
  const auto due = [&](std::int64_t every) { return every > 0 && outcome_.steps % every == 0; };
  while (!over()) {
    VRAMWISE_RETURN_IF_ERROR(one_step());
    if (outcome_.signal == 0 && hooks_.stop_signal) outcome_.signal = hooks_.stop_signal();
    if (outcome_.signal == 0 && due(schedule.eval_every)) VRAMWISE_RETURN_IF_ERROR(evaluate());
    if (outcome_.steps > 0 && due(schedule.save_every)) VRAMWISE_RETURN_IF_ERROR(save());
  }
  return Done{};
}

Status Run::one_step() {
  const std::int64_t step = outcome_.steps + 1;
  std::vector<std::int64_t> starts;
  starts.reserve(static_cast<std::size_t>(spec_.effective_batch_size()));
  for (std::int64_t i = 0; i < spec_.effective_batch_size(); ++i) starts.push_back(order_->start_of(sequences_ + i));
  const double learning_rate = learning_rate_at(spec_.optimizer, spec_.schedule.max_steps, step);
  clock_.begin_step();
  VRAMWISE_ASSIGN_OR_RETURN(const StepOutcome done, engine_->step({step, learning_rate, {&data_->train, starts}}));
  if (done.interrupted) {
    outcome_.signal = hooks_.stop_signal();
    return Done{};
  }
  clock_.end_step();
  outcome_.steps = step;
  outcome_.last_loss = done.loss;
  outcome_.seconds += clock_.last_seconds();
  sequences_ += static_cast<std::int64_t>(starts.size());
  report_step(done, learning_rate);
  return Done{};
}

Status Run::evaluate() {
  const auto began = std::chrono::steady_clock::now();
  VRAMWISE_ASSIGN_OR_RETURN(const std::optional<double> done,
                            engine_->evaluate(outcome_.steps, {&data_->val, val_starts_}));
  if (!done) {
    outcome_.signal = hooks_.stop_signal();
    return Done{};
  }
  const double loss = *done;
  outcome_.seconds += std::chrono::duration<double>(std::chrono::steady_clock::now() - began).count();
  outcome_.val_loss = loss;
  evaluated_at_ = outcome_.steps;
  const auto& target = spec_.schedule.stop_at_val_loss;
  outcome_.reached_target = target && loss <= *target;
  progress_.on_eval({outcome_.steps, loss, static_cast<std::int64_t>(val_starts_.size()) * spec_.step.seq_len});
  log({{"step", outcome_.steps}, {"val_loss", loss}});
  return Done{};
}

Status Run::save() {
  if (saved_at_ == outcome_.steps) return Done{};
  RunState state;
  state.step = outcome_.steps;
  state.updates = engine_->updates();
  state.sequences = sequences_;
  state.seconds = outcome_.seconds;
  state.seed = spec_.schedule.seed;
  state.train_tokens = data_->train.size();
  state.micro_batches = engine_->micro_batches();
  state.loss_scaler = engine_->scaler().to_json();
  state.random_state = RandomState::capture(spec_.replicas);
  state.planned_micro_batches.reserve(spec_.replicas.size());
  for (const ReplicaSpec& replica : spec_.replicas) state.planned_micro_batches.push_back(replica.micro_batch);
  VRAMWISE_ASSIGN_OR_RETURN(outcome_.checkpoint, write_checkpoint(spec_, engine_->layout(), state, tensors()));
  saved_at_ = outcome_.steps;
  return Done{};
}

Status Run::finish() {
  if (outcome_.signal == 0 && evaluated_at_ != outcome_.steps) VRAMWISE_RETURN_IF_ERROR(evaluate());
  VRAMWISE_RETURN_IF_ERROR(save());
  if (outcome_.signal == 0 && spec_.schedule.sample_tokens > 0) write_sample();
  outcome_.tokens_per_s = clock_.tokens_per_s(spec_.effective_batch_size() * spec_.step.seq_len);
  outcome_.memory = memory_->read();
  return Done{};
}

/// The run is saved by now, so a sample that fails is only a pity.
void Run::write_sample() {
  try {
    const std::int64_t length = std::min<std::int64_t>({32, spec_.step.seq_len, data_->val.size()});
    std::vector<std::int64_t> prompt(static_cast<std::size_t>(length));
    if (const Status read = data_->val.read(0, length, prompt.data()); !read.ok()) {
      progress_.on_warning("no sample was generated: " + read.error().what);
      return;
    }
    SampleSettings settings;
    settings.tokens = spec_.schedule.sample_tokens;
    settings.context = std::max<std::int64_t>(2, spec_.step.seq_len);
    settings.seed = spec_.schedule.seed;
    outcome_.sample = data_->tokenizer->decode(sample(engine_->first().decoder(), prompt, settings));
    outcome_.prompt = data_->tokenizer->decode(prompt);
  } catch (const std::exception&) {
    progress_.on_warning("no sample was generated: " + describe_exception(std::current_exception()));
  }
}

void Run::report_step(const StepOutcome& done, double learning_rate) {
  const std::int64_t tokens = spec_.effective_batch_size() * spec_.step.seq_len;
  StepReport report;
  report.step = outcome_.steps;
  report.max_steps = spec_.schedule.max_steps;
  report.loss = done.loss;
  report.learning_rate = learning_rate;
  report.grad_norm = done.grad_norm;
  report.skipped = done.skipped;
  report.step_seconds = clock_.last_seconds();
  report.tokens_per_s = clock_.recent_tokens_per_s(tokens);
  report.seconds_left = clock_.seconds_for(spec_.schedule.max_steps - outcome_.steps);
  report.memory = memory_->read();
  if (engine_->scaler().scales()) report.loss_scale = engine_->scaler().scale();
  Json devices = Json::array();
  for (const MemoryReading& memory : report.memory) devices.push_back(to_json(memory));
  Json line = {{"step", report.step},
               {"loss", report.loss},
               {"learning_rate", learning_rate},
               {"grad_norm", report.grad_norm},
               {"skipped", report.skipped},
               {"step_ms", report.step_seconds * 1e3},
               {"tokens", sequences_ * spec_.step.seq_len},
               {"micro_batches", engine_->micro_batches()},
               {"memory", devices}};
  if (report.loss_scale) line["loss_scale"] = *report.loss_scale;
  log(line);
  progress_.on_step(report);
}

/// PyTorch's text goes on about the state of the card; how much was asked for is enough.
std::string brief(const std::string& message) { return message.substr(0, message.find(" GPU ")); }

void Run::report_out_of_memory(const OutOfMemoryEvent& event) {
  const std::string& device = spec_.replicas[event.replica].device;
  progress_.on_warning(c10::str(device, " ran out of memory in ", event.evaluation ? "the evaluation after " : "",
                                "step ", event.step, "; it is repeated with micro-batches of ", event.new_micro_batch,
                                " instead of ", event.old_micro_batch, ", and the same batch in all (",
                                brief(event.message), ")"));
  log({{"step", event.step},
       {"event", "out_of_memory"},
       {"evaluation", event.evaluation},
       {"device", device},
       {"old_micro_batch", event.old_micro_batch},
       {"new_micro_batch", event.new_micro_batch}});
}

void Run::log(const Json& line) {
  if (!metrics_) return;
  const Status written = metrics_->append(line);
  if (written.ok()) return;
  // The run is worth more than its log. If the disk is full, the next checkpoint will say so.
  progress_.on_warning(written.error().what + "; the run goes on without its log");
  metrics_.reset();
}

Result<TrainOutcome> Run::go() {
  VRAMWISE_RETURN_IF_ERROR(open_data());
  VRAMWISE_RETURN_IF_ERROR(open_folder());
  VRAMWISE_RETURN_IF_ERROR(build());
  VRAMWISE_RETURN_IF_ERROR(begin());
  VRAMWISE_RETURN_IF_ERROR(loop());
  VRAMWISE_RETURN_IF_ERROR(finish());
  return outcome_;
}

}  // namespace

Json to_json(const TrainOutcome& o) {
  const auto number = [](const std::optional<double>& value) { return value ? Json(*value) : Json(nullptr); };
  Json memory = Json::array();
  for (const MemoryReading& device : o.memory) memory.push_back(to_json(device));
  return {{"schema", "vramwise.train"},
          {"schema_version", 1},
          {"steps", o.steps},
          {"last_loss", number(o.last_loss)},
          {"val_loss", number(o.val_loss)},
          {"reached_target", o.reached_target},
          {"signal", o.signal},
          {"seconds", o.seconds},
          {"tokens_per_s", number(o.tokens_per_s)},
          {"checkpoint", o.checkpoint},
          {"prompt", o.prompt},
          {"sample", o.sample},
          {"memory", memory}};
}

Result<TrainOutcome> train(const RunSpec& spec, ProgressSink& progress, const TrainerHooks& hooks,
                           std::optional<FileLock> lock) {
  try {
    return Run(spec, progress, hooks, std::move(lock)).go();
  } catch (const std::exception&) {
    const std::exception_ptr failure = std::current_exception();
    if (is_out_of_memory(failure)) return does_not_fit("out of memory: " + describe_exception(failure));
    return world_error("the run failed: " + describe_exception(failure));
  }
}

}  // namespace vramwise
