#include "runner/decoder_check.h"

#include <stdexcept>

namespace squant::runner {

std::string other_decoder(const eval::DatasetSpec& spec) {
  return spec.decoder == eval::kNvjpeg ? "nvJPEG " + spec.decoder_version : "";
}

void check_decoders(const Plan& plan, const std::string& device, bool packs_images) {
  for (const PlannedDataset& dataset : plan.datasets) {
    if (dataset.spec.decoder != eval::kNvjpeg) continue;
    const std::string whose = "the data set '" + dataset.name + "' has the decoder nvjpeg, which ";
    if (device != "cuda") {
      throw std::invalid_argument(whose +
                                  "works on the GPUs of workers, and here they work on the CPU: "
                                  "give --device cuda, which says what is missing, or take the "
                                  "decoder libjpeg");
    }
    if (packs_images) {
      throw std::invalid_argument(whose +
                                  "--broadcast-images does not have: rank 0 packs by libjpeg. "
                                  "Leave one of the two out");
    }
  }
}

std::string decoder_notice(const Plan& plan) {
  for (const PlannedDataset& dataset : plan.datasets) {
    const std::string decoder = other_decoder(dataset.spec);
    if (decoder.empty()) continue;
    return dataset.name + ": JPEG files are decoded by " + decoder +
           ". Its pixels differ from libjpeg's, which the paper's protocol has: these results are "
           "kept apart from exact ones, and may be off the paper's by more than they would be";
  }
  return "";
}

}  // namespace squant::runner
