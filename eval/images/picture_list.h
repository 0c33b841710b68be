// Which pictures a folder holds, and their classes.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace squant::eval {

struct PictureFile {
  std::string path;  // relative to the folder, with '/'
  std::int64_t size_bytes = 0;
  std::int64_t modified_ns = 0;
  std::int32_t label = 0;
};

struct PictureList {
  std::vector<PictureFile> files;  // sorted by path, bytewise
  std::int64_t num_classes = 0;
  std::vector<std::string> class_names;  // one a class
};

// Finds all pictures in and below `folder` (by extension, as torchvision does; names that begin
// with a dot are not looked at) and their labels:
// - one folder for each class, or for some of them: the label is the position of the folder's name
// in the class list, the
//   first word of each line of the file `labels`; without one, in ImageNet's 1000 sorted WNIDs.
//   Deeper folders belong to their class.
// - flat: `labels` has lines "file label", where the label is a WNID or its position from 0, in any
// order, and more lines
//   than there are pictures are fine; or one WNID a line for the sorted files, exactly one for
//   each.
// Empty lines and lines that begin with '#' are skipped.
// Throws std::invalid_argument for: no pictures, an unknown class, a picture without label, a
// picture listed twice, two files of one picture (the same name with two extensions, or the same
// ILSVRC2012_val number in two places).
PictureList list_pictures(const std::string& folder, const std::string& labels);

// The sorted paths, relative to `folder`, of all its pictures. Throws std::invalid_argument when
// there are none.
std::vector<std::string> find_picture_paths(const std::string& folder);

// The 1000 WNIDs of ILSVRC 2012, sorted: the classes of every ImageNet network
// (experiments/imagenet_synsets.txt).
const std::vector<std::string>& imagenet_synsets();

}  // namespace squant::eval
