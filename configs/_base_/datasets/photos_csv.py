"""Your photos at 128×128, with their labels in data/photos/{train,val}.csv.

The header is `image,labels` with labels separated by `;`, or `image` and a 0/1 column per class.
A column `ignore`, in the form of `labels`, names the classes that are left out of mAP for an image.
Paths of images are relative to the CSV's folder. The classes are the names in train.csv: set
`num_classes` to their number.
"""

_base_ = ["photos.py"]

train_dataloader = dict(dataset=dict(type="CsvMultiLabel", ann_file="train.csv"))
val_dataloader = dict(
    dataset=dict(type="CsvMultiLabel", ann_file="val.csv", classes_from="train.csv")
)
test_dataloader = val_dataloader
