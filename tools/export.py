#!/usr/bin/env python
"""Write a trained clusterer as a file that runs without this package: ONNX or TorchScript.

The file takes images that are resized as the test pipeline of the config does it, but not
normalised: uint8, RGB (or grey), shape (B, C, H, W), B as large as one likes. It gives the
probabilities of the clusters, (B, K). Before it is written it is compared with the model on images
of the config's test data.
"""

import argparse

import early  # noqa: F401  (first)
from shared_args import add_shared_args

TOLERANCE = 1e-4


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('config', help='config file')
    parser.add_argument('checkpoint', help='checkpoint file')
    parser.add_argument('--format', choices=['onnx', 'torchscript'], default='onnx')
    parser.add_argument('--out', required=True, help='file to write')
    add_shared_args(parser)
    return parser.parse_args()


def main() -> None:
    args = parse_args()

    # After parsing, so that --help and mistyped flags answer at once.
    from cdc_mm import apis
    from cdc_mm.atomic import check_output, write_atomically

    with apis.clear_errors():
        check_output(args.out)
        if args.trust_checkpoint:
            apis.trust_checkpoints()
        cfg = apis.read_config(args.config, args.cfg_options)
        model = apis.ImagesToClusters(apis.load_model(cfg, args.checkpoint).cpu())
        images = model.as_rgb(apis.example_images(cfg))
        content = apis.export_model(model, images, args.format)
        run = apis.open_exported(content, args.format)
        difference = apis.largest_difference(model, run, images)
        print(f'largest difference to the model on {len(images)} images: {difference:.1e}')
        if not difference <= TOLERANCE:
            raise ValueError(
                f'the exported model is not the same: its probabilities differ by up to '
                f'{difference:.1e}, more than {TOLERANCE:g}. Nothing was written.'
            )
    with apis.clear_run_errors():
        write_atomically(args.out, content)
    shape = ', '.join(map(str, images.shape[1:]))
    print(f'{args.out}: uint8 images (B, {shape}) to probabilities (B, {model.model.num_clusters})')


if __name__ == '__main__':
    main()
