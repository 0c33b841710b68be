#include "runner/messages.h"

#include <limits>
#include <nlohmann/json.hpp>
#include <optional>
#include <stdexcept>
#include <type_traits>
#include <utility>

namespace squant::runner {
namespace {

using nlohmann::json;

// --- eval's types, as arrays of fields in a fixed order: both ends are the same program
// (Hello::program).

json put(const quant::ActivationRange& range) { return json::array({range.min, range.max}); }

json put(const std::vector<quant::ActivationRange>& ranges) {
  json list = json::array();
  for (const quant::ActivationRange& range : ranges) list.push_back(put(range));
  return list;
}

json put(const eval::Job& job) {
  return json::array({job.model, job.checkpoint, job.checkpoint_sha256, job.weight_bits,
                      job.activation_bits, static_cast<int>(job.mode),
                      static_cast<int>(job.rounding), job.sigma, job.calibration_images,
                      static_cast<int>(job.engine), job.keep_predictions});
}

json put(const quant::SquantErrors& errors) {
  return json::array({errors.squared, errors.max_kernel, errors.max_channel});
}

json put(const quant::Saturation& saturation) {
  return json::array({saturation.low, saturation.high});
}

json put(const quant::StageErrors& errors);

template <typename T>
json put(const std::optional<T>& value) {
  return value ? put(*value) : json();
}

json put(const quant::StageErrors& errors) {
  return json::array({put(errors.e), put(errors.k), put(errors.c)});
}

json put(const eval::LayerFacts& layer) {
  return json::array({layer.name, layer.shape.out, layer.shape.in, layer.shape.kernel,
                      layer.quantize_ms, put(layer.errors), put(layer.input_range),
                      put(layer.saturation), layer.sum_bound, layer.kernel});
}

json put(const eval::Preparation& preparation) {
  json layers = json::array();
  for (const eval::LayerFacts& layer : preparation.layers) layers.push_back(put(layer));
  return json::array({put(preparation.ranges), std::move(layers), preparation.quantize_ms,
                      preparation.quantize_device, preparation.calibrate_ms,
                      preparation.num_weights, preparation.engine, preparation.exact});
}

json put(const eval::Evaluator::Tile& tile) {
  json results = json::array();
  for (const eval::Evaluator::TileResult& result : tile.results) {
    const eval::TileCounts& counts = result.counts;
    results.push_back(
        json::array({counts.num_images, counts.num_top1, counts.num_top5, counts.num_broken,
                     counts.has_digest, counts.digest.low, counts.digest.high, counts.compute_ms,
                     counts.outcomes, counts.predictions, result.error}));
  }
  return json::array({tile.load_ms, tile.broken, std::move(results)});
}

json put(const eval::DatasetSpec& spec) {
  return json::array({spec.format, spec.images, spec.labels, spec.cache, spec.order, spec.sha256,
                      spec.decoder, spec.decoder_version});
}

json put(const std::vector<SharedFile>& files) {
  json list = json::array();
  for (const SharedFile& file : files) list.push_back(json::array({file.path, file.sha256}));
  return list;
}

json put(const NcclGroup& group) {
  return json::array(
      {group.rank, group.root, group.hosts, group.names, group.device, group.id, group.deadline_s});
}

json put(const std::vector<Delivery>& deliveries) {
  json list = json::array();
  for (const Delivery& one : deliveries) {
    list.push_back(
        json::array({one.sha256, one.rank, one.host, one.bytes, one.seconds, one.path, one.error}));
  }
  return list;
}

// Reads the fields of an array in order; every one of them must be used.
class Fields {
 public:
  explicit Fields(const json& array) : array_(array) {
    if (!array.is_array()) throw std::invalid_argument("an array was expected");
  }
  const json& next() { return array_.at(index_++); }
  template <typename T>
  T get() {
    const json& field = next();
    if constexpr (std::is_same_v<T, std::string>) {
      return field.get_ref<const std::string&>();
    } else if constexpr (std::is_same_v<T, bool>) {
      return field.get_ref<const bool&>();
    } else if constexpr (std::is_integral_v<T>) {
      return integer<T>(field);
    } else {
      if (!field.is_number()) throw std::invalid_argument("a number was expected");
      return field.get<T>();
    }
  }
  template <typename Enum>
  Enum get_enum(Enum last) {
    const int value = get<int>();
    if (value < 0 || value > static_cast<int>(last))
      throw std::invalid_argument("an enumerator is out of range");
    return static_cast<Enum>(value);
  }
  void end() const {
    if (index_ != array_.size()) throw std::invalid_argument("a message has too many fields");
  }

 private:
  template <typename T>
  static T integer(const json& field) {
    if (!field.is_number_integer()) throw std::invalid_argument("an integer was expected");
    if (field.is_number_unsigned()) {
      const auto value = field.get<std::uint64_t>();
      if (!std::in_range<T>(value)) throw std::invalid_argument("an integer is out of range");
      return static_cast<T>(value);
    }
    const auto value = field.get<std::int64_t>();
    if (!std::in_range<T>(value)) throw std::invalid_argument("an integer is out of range");
    return static_cast<T>(value);
  }

  const json& array_;
  std::size_t index_ = 0;
};

template <typename T, typename Get>
std::vector<T> get_list(const json& array, Get get) {
  if (!array.is_array()) throw std::invalid_argument("an array was expected");
  std::vector<T> list;
  list.reserve(array.size());
  for (const json& element : array) list.push_back(get(element));
  return list;
}

quant::ActivationRange get_range(const json& array) {
  Fields fields(array);
  const quant::ActivationRange range{fields.get<float>(), fields.get<float>()};
  fields.end();
  return range;
}

std::vector<quant::ActivationRange> get_ranges(const json& array) {
  return get_list<quant::ActivationRange>(array, get_range);
}

eval::Job get_job(const json& array) {
  Fields fields(array);
  eval::Job job;
  job.model = fields.get<std::string>();
  job.checkpoint = fields.get<std::string>();
  job.checkpoint_sha256 = fields.get<std::string>();
  job.weight_bits = fields.get<int>();
  job.activation_bits = fields.get<int>();
  job.mode = fields.get_enum(quant::Mode::kEKC);
  job.rounding = fields.get_enum(quant::Rounding::kPaper);
  job.sigma = fields.get<double>();
  job.calibration_images = fields.get<std::int64_t>();
  job.engine = fields.get_enum(eval::EngineChoice::kSimulated);
  job.keep_predictions = fields.get<bool>();
  fields.end();
  return job;
}

quant::SquantErrors get_errors(const json& array) {
  Fields fields(array);
  quant::SquantErrors errors;
  errors.squared = fields.get<double>();
  errors.max_kernel = fields.get<double>();
  errors.max_channel = fields.get<double>();
  fields.end();
  return errors;
}

// null: empty.
template <typename Get>
auto get_optional(const json& value, Get get) -> std::optional<decltype(get(value))> {
  if (value.is_null()) return std::nullopt;
  return get(value);
}

quant::StageErrors get_stage_errors(const json& array) {
  Fields fields(array);
  quant::StageErrors errors;
  errors.e = get_errors(fields.next());
  errors.k = get_optional(fields.next(), get_errors);
  errors.c = get_optional(fields.next(), get_errors);
  fields.end();
  return errors;
}

quant::Saturation get_saturation(const json& array) {
  Fields fields(array);
  const quant::Saturation saturation{fields.get<double>(), fields.get<double>()};
  fields.end();
  return saturation;
}

eval::LayerFacts get_layer(const json& array) {
  Fields fields(array);
  eval::LayerFacts layer;
  layer.name = fields.get<std::string>();
  layer.shape.out = fields.get<std::int64_t>();
  layer.shape.in = fields.get<std::int64_t>();
  layer.shape.kernel = fields.get<std::int64_t>();
  layer.quantize_ms = fields.get<double>();
  layer.errors = get_optional(fields.next(), get_stage_errors);
  layer.input_range = get_range(fields.next());
  layer.saturation = get_optional(fields.next(), get_saturation);
  layer.sum_bound = fields.get<double>();
  layer.kernel = fields.get<std::string>();
  fields.end();
  return layer;
}

eval::Preparation get_preparation(const json& array) {
  Fields fields(array);
  eval::Preparation preparation;
  preparation.ranges = get_ranges(fields.next());
  preparation.layers = get_list<eval::LayerFacts>(fields.next(), get_layer);
  preparation.quantize_ms = fields.get<double>();
  preparation.quantize_device = fields.get<std::string>();
  preparation.calibrate_ms = fields.get<double>();
  preparation.num_weights = fields.get<std::int64_t>();
  preparation.engine = fields.get<std::string>();
  preparation.exact = fields.get<bool>();
  fields.end();
  return preparation;
}

std::int32_t get_class(const json& number) { return number.get<std::int32_t>(); }

eval::Evaluator::TileResult get_result(const json& array) {
  Fields fields(array);
  eval::Evaluator::TileResult result;
  eval::TileCounts& counts = result.counts;
  counts.num_images = fields.get<std::int64_t>();
  counts.num_top1 = fields.get<std::int64_t>();
  counts.num_top5 = fields.get<std::int64_t>();
  counts.num_broken = fields.get<std::int64_t>();
  counts.has_digest = fields.get<bool>();
  counts.digest.low = fields.get<std::uint64_t>();
  counts.digest.high = fields.get<std::uint64_t>();
  counts.compute_ms = fields.get<double>();
  counts.outcomes = fields.get<std::string>();
  counts.predictions = get_list<std::int32_t>(fields.next(), get_class);
  result.error = fields.get<std::string>();
  fields.end();
  return result;
}

std::string get_text(const json& text) { return text.get_ref<const std::string&>(); }

std::vector<std::string> get_texts(const json& array) {
  return get_list<std::string>(array, get_text);
}

eval::Evaluator::Tile get_tile(const json& array) {
  Fields fields(array);
  eval::Evaluator::Tile tile;
  tile.load_ms = fields.get<double>();
  tile.broken = get_texts(fields.next());
  tile.results = get_list<eval::Evaluator::TileResult>(fields.next(), get_result);
  fields.end();
  return tile;
}

eval::DatasetSpec get_dataset(const json& array) {
  Fields fields(array);
  eval::DatasetSpec spec;
  spec.format = fields.get<std::string>();
  spec.images = fields.get<std::string>();
  spec.labels = fields.get<std::string>();
  spec.cache = fields.get<std::string>();
  spec.order = fields.get<std::string>();
  spec.sha256 = fields.get<std::string>();
  spec.decoder = fields.get<std::string>();
  spec.decoder_version = fields.get<std::string>();
  fields.end();
  return spec;
}

SharedFile get_file(const json& array) {
  Fields fields(array);
  SharedFile file{fields.get<std::string>(), fields.get<std::string>()};
  fields.end();
  return file;
}

std::vector<SharedFile> get_files(const json& array) {
  return get_list<SharedFile>(array, get_file);
}

NcclGroup get_group(const json& array) {
  Fields fields(array);
  NcclGroup group;
  group.rank = fields.get<int>();
  group.root = fields.get<int>();
  group.hosts = get_texts(fields.next());
  group.names = get_list<int>(fields.next(), [](const json& name) { return name.get<int>(); });
  group.device = fields.get<int>();
  group.id = fields.next().get<NcclId>();
  group.deadline_s = fields.get<double>();
  fields.end();
  return group;
}

Delivery get_delivery(const json& array) {
  Fields fields(array);
  Delivery one;
  one.sha256 = fields.get<std::string>();
  one.rank = fields.get<int>();
  one.host = fields.get<std::string>();
  one.bytes = fields.get<std::int64_t>();
  one.seconds = fields.get<double>();
  one.path = fields.get<std::string>();
  one.error = fields.get<std::string>();
  fields.end();
  return one;
}

// --- messages: the first field is the position of the type in Message

json body(const Hello& m) {
  return json::array({m.program, m.host, m.pid, m.device, m.device_name, m.device_uuid, m.driver,
                      m.num_threads, m.note});
}
json body(const Beat& m) { return json::array({m.task, m.jobs_done}); }
json body(const Prepared& m) { return json::array({m.task, put(m.preparation)}); }
json body(const TileAnswer& m) { return json::array({m.task, put(m.tile), m.log_tail}); }
json body(const TaskError& m) {
  return json::array({m.task, m.reason, m.log_tail, static_cast<int>(m.kind)});
}
json body(const Farewell&) { return json::array(); }
json body(const Ack&) { return json::array(); }
json body(const Packed& m) {
  return json::array({m.task, m.pack.path, m.pack.sha256, m.pack.size_bytes, m.pack.broken});
}
json body(const FilesLacking& m) { return json::array({m.sha256}); }
json body(const BroadcastDone& m) { return json::array({m.task, put(m.deliveries)}); }
json body(const DatasetInfo& m) { return json::array({m.dataset, put(m.spec)}); }
json body(const JobInfo& m) { return json::array({m.job, put(m.spec), m.repeats, put(m.ranges)}); }
json body(const PrepareTask& m) { return json::array({m.task, m.job}); }
json body(const TileTask& m) { return json::array({m.task, m.dataset, m.first, m.count, m.jobs}); }
json body(const PackTask& m) {
  return json::array(
      {m.task, put(m.dataset), m.count, m.shape.channels, m.shape.height, m.shape.width, m.folder});
}
json body(const WhichFiles& m) { return json::array({put(m.files)}); }
json body(const BroadcastTask& m) {
  return json::array({m.task, put(m.group), put(m.files), m.cache});
}
json body(const Leave& m) { return json::array({m.abort_follows, m.why}); }

void read(Fields& fields, Hello& m) {
  m.program = fields.get<std::string>();
  m.host = fields.get<std::string>();
  m.pid = fields.get<int>();
  m.device = fields.get<std::string>();
  m.device_name = fields.get<std::string>();
  m.device_uuid = fields.get<std::string>();
  m.driver = fields.get<std::string>();
  m.num_threads = fields.get<int>();
  m.note = fields.get<std::string>();
}
void read(Fields& fields, Beat& m) {
  m.task = fields.get<std::int64_t>();
  m.jobs_done = fields.get<std::int64_t>();
}
void read(Fields& fields, Prepared& m) {
  m.task = fields.get<std::int64_t>();
  m.preparation = get_preparation(fields.next());
}
void read(Fields& fields, TileAnswer& m) {
  m.task = fields.get<std::int64_t>();
  m.tile = get_tile(fields.next());
  m.log_tail = fields.get<std::string>();
}
void read(Fields& fields, TaskError& m) {
  m.task = fields.get<std::int64_t>();
  m.reason = fields.get<std::string>();
  m.log_tail = fields.get<std::string>();
  m.kind = fields.get_enum(FailureKind::kWorkerUnusable);
}
void read(Fields& fields, Packed& m) {
  m.task = fields.get<std::int64_t>();
  m.pack.path = fields.get<std::string>();
  m.pack.sha256 = fields.get<std::string>();
  m.pack.size_bytes = fields.get<std::int64_t>();
  m.pack.broken = get_texts(fields.next());
}
void read(Fields& fields, FilesLacking& m) { m.sha256 = get_texts(fields.next()); }
void read(Fields& fields, BroadcastDone& m) {
  m.task = fields.get<std::int64_t>();
  m.deliveries = get_list<Delivery>(fields.next(), get_delivery);
}
void read(Fields&, Farewell&) {}
void read(Fields&, Ack&) {}
void read(Fields& fields, DatasetInfo& m) {
  m.dataset = fields.get<int>();
  m.spec = get_dataset(fields.next());
}
void read(Fields& fields, JobInfo& m) {
  m.job = fields.get<int>();
  m.spec = get_job(fields.next());
  m.repeats = fields.get<int>();
  m.ranges = get_ranges(fields.next());
}
void read(Fields& fields, PrepareTask& m) {
  m.task = fields.get<std::int64_t>();
  m.job = fields.get<int>();
}
void read(Fields& fields, TileTask& m) {
  m.task = fields.get<std::int64_t>();
  m.dataset = fields.get<int>();
  m.first = fields.get<std::int64_t>();
  m.count = fields.get<std::int64_t>();
  m.jobs = get_list<int>(fields.next(), [](const json& job) { return job.get<int>(); });
}
void read(Fields& fields, PackTask& m) {
  m.task = fields.get<std::int64_t>();
  m.dataset = get_dataset(fields.next());
  m.count = fields.get<std::int64_t>();
  m.shape.channels = fields.get<std::int64_t>();
  m.shape.height = fields.get<std::int64_t>();
  m.shape.width = fields.get<std::int64_t>();
  m.folder = fields.get<std::string>();
}
void read(Fields& fields, WhichFiles& m) { m.files = get_files(fields.next()); }
void read(Fields& fields, BroadcastTask& m) {
  m.task = fields.get<std::int64_t>();
  m.group = get_group(fields.next());
  m.files = get_files(fields.next());
  m.cache = fields.get<std::string>();
}
void read(Fields& fields, Leave& m) {
  m.abort_follows = fields.get<bool>();
  m.why = fields.get<std::string>();
}

template <std::size_t Index = 0>
Message decode_as(std::size_t index, const json& array) {
  if constexpr (Index == std::variant_size_v<Message>) {
    throw std::invalid_argument("unknown kind of message");
  } else {
    if (index != Index) return decode_as<Index + 1>(index, array);
    std::variant_alternative_t<Index, Message> message;
    Fields fields(array);
    read(fields, message);
    fields.end();
    return message;
  }
}

}  // namespace

Bytes encode(const Message& message) {
  json fields = std::visit([](const auto& one) { return body(one); }, message);
  return json::to_cbor(json::array({message.index(), std::move(fields)}));
}

Message decode(std::span<const std::uint8_t> bytes) {
  try {
    const json array = json::from_cbor(bytes.begin(), bytes.end());
    Fields fields(array);
    const auto index = fields.get<std::size_t>();
    Message message = decode_as(index, fields.next());
    fields.end();
    return message;
  } catch (const std::exception& error) {
    throw std::invalid_argument(std::string("not a message of this program: ") + error.what());
  }
}

}  // namespace squant::runner
