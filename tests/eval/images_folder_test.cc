// Which pictures a folder gives, with which labels, and what is said where something is wrong.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "eval/images/dataset.h"
#include "eval/images/picture_list.h"
#include "tests/eval/images_test_util.h"

namespace squant::eval {
namespace {

using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

class ImageFolderTest : public ::testing::Test {
 protected:
  std::string images() const { return folder_.path() + "/val"; }
  void add(const std::string& name) const { folder_.add_picture("rgb.png", "val/" + name); }
  std::string labels(const std::string& text) const { return folder_.write("labels.txt", text); }
  std::unique_ptr<Dataset> open(const std::string& labels = "") const {
    return open_dataset({"image_folder", images(), labels, "none", kFileOrder});
  }
  std::string list_error(const std::string& labels = "") const {
    return error_of([&] { list_pictures(images(), labels); });
  }
  std::vector<std::pair<std::string, int>> list(const std::string& labels = "") const {
    std::vector<std::pair<std::string, int>> pairs;
    for (const PictureFile& file : list_pictures(images(), labels).files)
      pairs.emplace_back(file.path, file.label);
    return pairs;
  }

  TestFolder folder_;
};

using Pair = std::pair<std::string, int>;

TEST_F(ImageFolderTest, SynsetsAreTheThousandOfImageNet) {
  const auto& synsets = imagenet_synsets();
  ASSERT_EQ(synsets.size(), 1000u);
  EXPECT_TRUE(std::is_sorted(synsets.begin(), synsets.end()));
  EXPECT_EQ(synsets.front(), "n01440764");
  EXPECT_EQ(synsets.back(), "n15075141");
}

TEST_F(ImageFolderTest, LabelsComeFromTheWnidAlsoInASubset) {
  add("n15075141/b.JPEG");
  add("n15075141/a.png");
  add("n01443537/x.jpeg");
  add("n01443537/deeper/y.jpg");
  folder_.write("val/n01443537/notes.txt", "no picture");
  folder_.write("val/n01443537/._x.jpeg", "what another system leaves");
  std::filesystem::create_directories(images() + "/n01440764");
  EXPECT_THAT(list(), ElementsAre(Pair("n01443537/deeper/y.jpg", 1), Pair("n01443537/x.jpeg", 1),
                                  Pair("n15075141/a.png", 999), Pair("n15075141/b.JPEG", 999)));
  EXPECT_EQ(open()->num_classes(), 1000);
  EXPECT_EQ(open()->class_names(), imagenet_synsets());
  EXPECT_EQ(list_pictures(images() + "/", "").files.back().path, "n15075141/b.JPEG");
}

TEST_F(ImageFolderTest, ClassFoldersMayBeLinksAndLinksUpwardsEnd) {
  folder_.add_picture("rgb.png", "elsewhere/a.JPEG");
  std::filesystem::create_directories(images());
  std::filesystem::create_directory_symlink("../elsewhere", images() + "/n01440764");
  std::filesystem::create_directory_symlink("..", folder_.path() + "/elsewhere/up");
  EXPECT_THAT(list(), ElementsAre(Pair("n01440764/a.JPEG", 0)));
}

TEST_F(ImageFolderTest, AClassListOfOnesOwnDecidesLabels) {
  add("cat/1.png");
  add("dog/1.png");
  EXPECT_THAT(list(labels("# pets\ndog, the faithful\nbird\n\ncat the other\n")),
              ElementsAre(Pair("cat/1.png", 2), Pair("dog/1.png", 0)));
  const auto pets = open(labels("dog\nbird\ncat\n"));
  EXPECT_EQ(pets->num_classes(), 3);
  EXPECT_THAT(pets->class_names(), ElementsAre("dog", "bird", "cat"));
  EXPECT_THAT(pets->labels(2), ElementsAre(2, 0));
  EXPECT_THAT(list_error(labels("dog\ncat\ndog\n")),
              HasSubstr("labels.txt:3: class dog a second time"));
}

TEST_F(ImageFolderTest, FlatFilesTakeLabelsByName) {
  add("b.JPEG");
  add("a 1.JPEG");
  EXPECT_THAT(list(labels("missing.JPEG 3\nb.JPEG 65\na 1.JPEG n15075141\n")),
              ElementsAre(Pair("a 1.JPEG", 999), Pair("b.JPEG", 65)));
  EXPECT_THAT(list_error(labels("b.JPEG 65\n")),
              AllOf(HasSubstr("labels.txt"), HasSubstr("no label for a 1.JPEG"),
                    HasSubstr("1 lines for 2 pictures")));
  EXPECT_THAT(list_error(labels("b.JPEG 65\na 1.JPEG 1\nb.JPEG 66\n")),
              HasSubstr("labels.txt:3: b.JPEG has a label already, in line 1"));
  EXPECT_THAT(list_error(labels("b.JPEG 1000\n")), HasSubstr("labels.txt:1: \"1000\" is no label"));
  EXPECT_THAT(list_error(labels("b.JPEG -1\n")), HasSubstr("\"-1\" is no label"));
  EXPECT_THAT(list_error(labels("b.JPEG n00000000\n")), HasSubstr("\"n00000000\" is no label"));
  EXPECT_THAT(list_error(labels("b.JPEG\n")), HasSubstr("expected \"file label\""));
}

TEST_F(ImageFolderTest, FlatFilesTakeWnidsInOrder) {
  add("ILSVRC2012_val_00000002.JPEG");
  add("ILSVRC2012_val_00000001.JPEG");
  EXPECT_THAT(list(labels("n01440764\nn15075141\n")),
              ElementsAre(Pair("ILSVRC2012_val_00000001.JPEG", 0),
                          Pair("ILSVRC2012_val_00000002.JPEG", 999)));
  EXPECT_THAT(list_error(labels("n01440764\n")), HasSubstr("has 1 lines for 2 pictures"));
  // ILSVRC2012_validation_ground_truth.txt: numbers of another order.
  EXPECT_THAT(list_error(labels("490\n361\n")),
              HasSubstr("labels.txt:1: expected a WNID, got \"490\""));
}

TEST_F(ImageFolderTest, FoldersThatDoNotFitAreNamed) {
  EXPECT_THAT(list_error(), AllOf(HasSubstr(images()), HasSubstr("cannot be listed")));
  std::filesystem::create_directories(images() + "/n01440764");
  EXPECT_THAT(list_error(), AllOf(HasSubstr(images()), HasSubstr("holds no pictures")));
  add("n01440764/a.JPEG");
  add("n00000001/b.JPEG");
  add("train/n01440764/c.JPEG");
  EXPECT_THAT(list_error(), AllOf(HasSubstr("2 folder(s)"), HasSubstr("n00000001, train")));
  EXPECT_THAT(list_error(folder_.path() + "/none.txt"), HasSubstr("none.txt: cannot be read"));
  EXPECT_THAT(list_error(labels("# nothing\n")), HasSubstr("holds no labels"));
  std::filesystem::create_symlink("nowhere.JPEG", images() + "/n01440764/link.JPEG");
  EXPECT_THAT(list_error(), HasSubstr("/n01440764/link.JPEG: cannot be examined"));
  std::filesystem::remove(images() + "/n01440764/link.JPEG");
  add("flat.JPEG");
  EXPECT_THAT(list_error(), HasSubstr("flat.JPEG lies in no class folder"));
  EXPECT_THAT(error_of([] {
                open_dataset({"image_folder", "", "", ""});
              }),
              HasSubstr("give \"images\""));
}

TEST_F(ImageFolderTest, TwoFilesOfOnePictureAreNamed) {
  add("n01440764/ILSVRC2012_val_00000001.JPEG");
  add("n01443537/ILSVRC2012_val_00000002_n01443537.JPEG");
  EXPECT_EQ(list().size(), 2u);
  add("n15075141/ILSVRC2012_val_00000002.JPEG");
  EXPECT_THAT(list_error(), AllOf(HasSubstr("n01443537/ILSVRC2012_val_00000002_n01443537.JPEG and "
                                            "n15075141/ILSVRC2012_val_00000002.JPEG"),
                                  HasSubstr("one picture")));
  std::filesystem::remove_all(images());
  add("n01440764/a.JPEG");
  add("n01443537/a.JPEG");  // numbered anew in every folder: two pictures
  EXPECT_EQ(list().size(), 2u);
  add("n01440764/a.png");
  EXPECT_THAT(list_error(), HasSubstr("n01440764/a.JPEG and n01440764/a.png"));
}

TEST_F(ImageFolderTest, FingerprintCoversNamesSizesAndLabels) {
  add("n01440764/a.JPEG");
  add("n01443537/b.JPEG");
  const std::string first = open()->fingerprint();
  EXPECT_EQ(first.size(), 64u);
  EXPECT_EQ(open()->fingerprint(), first);
  EXPECT_NE(open(labels("n01443537\nn01440764\n"))->fingerprint(), first);
  std::filesystem::rename(images() + "/n01440764/a.JPEG", images() + "/n01440764/c.JPEG");
  EXPECT_NE(open()->fingerprint(), first);
  std::filesystem::rename(images() + "/n01440764/c.JPEG", images() + "/n01440764/a.JPEG");
  EXPECT_EQ(open()->fingerprint(), first);
  folder_.add_picture("grey16.png", "val/n01440764/a.JPEG");
  EXPECT_NE(open()->fingerprint(), first);
}

TEST_F(ImageFolderTest, ABrokenPictureCostsThatPicture) {
  add("n01440764/a.JPEG");  // a PNG in disguise
  folder_.write("val/n01440764/b.JPEG", "\xff\xd8\xff nonsense");
  folder_.add_picture("yuv420_wide.jpg", "val/n01443537/c.JPEG");
  const auto dataset = open();
  std::filesystem::remove(images() + "/n01443537/c.JPEG");
  const ImageChunk chunk = dataset->load(0, 3, {3, 32, 32}, 2);
  EXPECT_THAT(chunk.broken, ElementsAre(1, 2));
  EXPECT_THAT(chunk.broken_why,
              ElementsAre(HasSubstr("/n01440764/b.JPEG: "),
                          HasSubstr("/n01443537/c.JPEG: cannot be opened: No such file")));
  EXPECT_THAT(chunk.labels, ElementsAre(0, 0, 1));
  EXPECT_EQ(chunk.stats.decoded, 1);
  const auto second = chunk.pixels.begin() + 32 * 32 * 3;
  EXPECT_TRUE(std::any_of(chunk.pixels.begin(), second, [](auto pixel) { return pixel != 0; }));
  EXPECT_TRUE(std::all_of(second, chunk.pixels.end(), [](auto pixel) { return pixel == 0; }));
}

TEST_F(ImageFolderTest, PixelsDoNotDependOnThreadsOrChunks) {
  int number = 0;
  for (const auto& entry : std::filesystem::directory_iterator(std::string(SQUANT_TESTS_DATA_DIR) +
                                                               "/images/pictures")) {
    folder_.add_picture(entry.path().filename(),
                        "val/n01440764/" + std::to_string(number++) + ".JPEG");
  }
  const auto dataset = open();
  const ImageChunk whole = dataset->load(0, dataset->size(), {3, 40, 40}, 1);
  EXPECT_EQ(whole.stats.decoded, number);
  EXPECT_EQ(dataset->load(0, dataset->size(), {3, 40, 40}, 7).pixels, whole.pixels);
  std::vector<std::uint8_t> pieces;
  for (std::int64_t first = 0; first < dataset->size(); first += 4) {
    const auto piece =
        dataset->load(first, std::min<std::int64_t>(4, dataset->size() - first), {3, 40, 40}, 3)
            .pixels;
    pieces.insert(pieces.end(), piece.begin(), piece.end());
  }
  EXPECT_EQ(pieces, whole.pixels);
}

TEST_F(ImageFolderTest, ShapesItCannotGiveAreRefused) {
  add("n01440764/a.JPEG");
  const auto dataset = open();
  for (const Shape& shape :
       {Shape{1, 28, 28}, Shape{3, 28, 32}, Shape{3, 0, 0}, Shape{3, 100000, 100000}}) {
    EXPECT_THAT(error_of([&] { dataset->load(0, 1, shape, 1); }), HasSubstr("the network wants"));
  }
  EXPECT_THAT(error_of([&] { dataset->load(1, 1, {3, 8, 8}, 1); }), HasSubstr("it has 1"));
}

}  // namespace
}  // namespace squant::eval
