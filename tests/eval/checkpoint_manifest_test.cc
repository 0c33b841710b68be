#include "eval/checkpoint/manifest.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>

namespace squant::eval {
namespace {

using ::testing::HasSubstr;

TEST(ManifestTest, ThePapersFiveFilesAreThoseOfPytorchcv) {
  // From pytorchcv 0.0.51's model_store.py: name, error, SHA-1, release.
  const char* const kFiles[][4] = {
      {"resnet18", "0982", "0126861b4cd7f7b14196b1e01827da688f8bab6d", "v0.0.153"},
      {"resnet50", "0633", "b00d1c8e52aa7a2badc705b1545aaf6ccece6ce9", "v0.0.329"},
      {"inceptionv3", "0565", "cf4061800bc1dc3b090920fc9536d8ccc15bb86e", "v0.0.92"},
      {"sqnxt23_w2", "1100", "b9bb7302824f89f16e078f0a506e3a8c0ad9c74e", "v0.0.240"},
      {"shufflenet_g1_w1", "1389", "4cfb65a30761fe548e0b5afbb5d89793ec41e4e9", "v0.0.223"},
  };
  for (const auto& [model, error, sha1, release] : kFiles) {
    const auto known = identify(sha1);
    ASSERT_TRUE(known) << model;
    EXPECT_EQ(known->model, model);
    EXPECT_EQ(known->source, "pytorchcv 0.0.51");
    EXPECT_EQ(known->file_name,
              std::string(model) + "-" + error + "-" + std::string(sha1).substr(0, 8) + ".pth");
    EXPECT_EQ(known->url, std::string("https://github.com/osmr/imgclsmob/releases/download/") +
                              release + "/" + known->file_name + ".zip");
  }
  EXPECT_EQ(known_checkpoints().size(), 6u);
}

TEST(ManifestTest, OriginsAreToldApart) {
  Checkpoint checkpoint;
  checkpoint.sha1 = "0126861b4cd7f7b14196b1e01827da688f8bab6d";
  EXPECT_EQ(describe_origin(checkpoint, "resnet18"),
            "published: resnet18-0982-0126861b.pth of pytorchcv 0.0.51");
  EXPECT_THAT(describe_origin(checkpoint, "resnet50"),
              HasSubstr("published for another model, resnet18"));
  checkpoint.sha1 = "da39a3ee5e6b4b0d3255bfef95601890afd80709";
  EXPECT_THAT(describe_origin(checkpoint, "resnet18"),
              HasSubstr("not the published resnet18-0982-0126861b.pth"));
  EXPECT_THAT(describe_origin(checkpoint, "my_net"),
              HasSubstr("no published checkpoint of this model is known"));
  EXPECT_FALSE(identify(checkpoint));
}

}  // namespace
}  // namespace squant::eval
