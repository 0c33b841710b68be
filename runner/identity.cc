#include "runner/identity.h"

#include <nlohmann/json.hpp>

#include "eval/checkpoint/checkpoint.h"

namespace squant::runner {
namespace {

std::string sha256(const std::string& text) { return eval::sha256_hex(text.data(), text.size()); }

}  // namespace

Identity make_identity(const IdentityInput& input) {
  nlohmann::json config;  // a sorted map
  config["model"] = input.model;
  config["checkpoint"] = input.checkpoint_sha256;
  config["weight_bits"] = input.weight_bits;
  config["activation_bits"] = input.activation_bits;
  config["engine"] = input.engine;
  config["numerics_version"] = input.numerics_version;
  if (input.weight_bits > 0) {
    config["mode"] = quant::mode_name(input.mode);
    config["rounding"] = quant::rounding_name(input.rounding);
  }
  if (input.activation_bits > 0) {
    config["sigma"] = input.sigma;
    config["calibration_images"] = input.calibration_images;
  }
  if (input.evaluate) {
    config["dataset"] = input.dataset_fingerprint;
    config["preprocessing"] = {
        {"input", {input.input.channels, input.input.height, input.input.width}},
        {"crop", input.crop},
        {"mean", input.mean},
        {"std", input.stddev}};
    // libjpeg goes without saying: identities are older than the choice.
    if (!input.decoder.empty()) config["preprocessing"]["decoder"] = input.decoder;
  } else {
    config["measure"] = "quantize_time";
    config["repeats"] = input.repeats;
  }
  Identity identity;
  identity.evaluation = sha256(config.dump());
  config["num_images"] = input.evaluate ? input.num_images : 0;
  identity.config_json = config.dump();
  identity.identity = sha256(identity.config_json);
  return identity;
}

}  // namespace squant::runner
