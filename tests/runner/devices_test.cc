#include "runner/devices.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <map>
#include <stdexcept>
#include <string>
#include <vector>

namespace squant::runner {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;

TEST(DevicesTest, WithoutTheVariableEveryInstalledGpuIsVisible) {
  EXPECT_THAT(visible_gpus(nullptr, 3), ElementsAre("0", "1", "2"));
  EXPECT_THAT(visible_gpus(nullptr, 0), IsEmpty());
}

TEST(DevicesTest, TheVariableIsReadAsCudaDoes) {
  EXPECT_THAT(visible_gpus("2,0", 4), ElementsAre("2", "0"));
  EXPECT_THAT(visible_gpus(" 1 , 3 ", 4), ElementsAre("1", "3"));
  EXPECT_THAT(visible_gpus("GPU-8932f937,MIG-11", 2), ElementsAre("GPU-8932f937", "MIG-11"));
  EXPECT_THAT(visible_gpus("0,7,1", 2), ElementsAre("0")) << "the list ends before a wrong index";
  for (const char* none : {"", "-1", "NoDevFiles", "x,0"}) {
    EXPECT_THAT(visible_gpus(none, 2), IsEmpty()) << none;
  }
  EXPECT_THAT(visible_gpus("GPU-8932f937", 0), IsEmpty()) << "no driver";
}

TEST(DevicesTest, WorkersTakeTurnsAndNoGpuIsIdleWhileAnotherIsShared) {
  const std::vector<std::string> visible{"2", "0", "5"};
  for (int num_workers = 1; num_workers <= 8; ++num_workers) {
    std::map<std::string, int> taken;
    for (int worker = 0; worker < num_workers; ++worker)
      ++taken[assign_gpu(visible, worker, num_workers).gpu];
    for (int worker = 0; worker < num_workers; ++worker) {
      const GpuShare share = assign_gpu(visible, worker, num_workers);
      EXPECT_EQ(share.num_sharing, taken[share.gpu]) << num_workers;
      EXPECT_LE(share.num_sharing, (num_workers + 2) / 3) << num_workers;
    }
  }
  EXPECT_EQ(assign_gpu(visible, 0, 1).gpu, "2");
  EXPECT_EQ(assign_gpu(visible, 1, 2).gpu, "0");
  EXPECT_EQ(assign_gpu(visible, 0, 1).number, 0);
  EXPECT_EQ(assign_gpu(visible, 1, 2).number, 1) << "CUDA counts what is visible";
}

TEST(DevicesTest, WithoutAGpuAssignmentIsAnError) {
  EXPECT_THROW(assign_gpu({}, 0, 1), std::invalid_argument);
  EXPECT_THROW(assign_gpu({"0"}, 1, 1), std::invalid_argument);
}

}  // namespace
}  // namespace squant::runner
