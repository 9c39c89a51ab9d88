#!/usr/bin/env python
"""Decode a folder of images once, so that training need not: a cache for LoadImage.

Images are shrunk so that their shorter side has at most --short-side pixels, and kept as they are
then. The same command again adds new images, makes changed ones and damaged parts anew, and goes on
where a run was killed. Configs with image_cache take it:

  build_cache.py data/imagenet --out CACHE
  train.py configs/cdc_r50_imagenet.py --cfg-options image_cache=CACHE
"""

import argparse

import early  # noqa: F401  (first)


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument('folder', help='folder of images, at any depth; data_root of the config')
    parser.add_argument('--out', required=True, help='folder of the cache, outside of it')
    parser.add_argument(
        '--short-side', type=int, default=256, help='in pixels (default: %(default)s)'
    )
    parser.add_argument(
        '--num-workers', type=int, default=2, help='processes that decode (default: %(default)s)'
    )
    return parser.parse_args()


def main() -> None:
    args = parse_args()

    # After parsing, so that --help and mistyped flags answer at once.
    from cdc_mm import apis, console

    console.silence()
    with apis.clear_errors(), apis.clear_run_errors():
        done = apis.build_cache(args.folder, args.out, args.short_side, args.num_workers)
    print(f'{args.out}: {done.images:,} images, {done.num_bytes / 1e6:,.1f} MB; {done.made:,} made')
    if done.faulty:
        print(f'{done.faulty:,} cannot be read, such as {done.fault}')
    if done.unused:
        print(
            f'{done.unused / 1e6:,.1f} MB are of images that are gone or were changed: to get them '
            'back, remove the folder and make it anew'
        )
    print(f'to use it: --cfg-options image_cache={args.out}')


if __name__ == '__main__':
    main()
