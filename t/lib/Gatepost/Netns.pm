# SPDX-License-Identifier: ISC
# `use Gatepost::Netns;` runs the whole script again in network and mount namespaces of its own:
# every port and every name server address is free, nothing outside can be reached or disturbed.
package Gatepost::Netns;
use strict;
use warnings;
use Fcntl qw(O_CREAT O_WRONLY);
use Socket;

sub import {
    if (($ENV{GP_NETNS} // '') eq $$) { _setup(); return }
    $ENV{GP_NETNS} = $$;
    my @inc = map {"-I$_"} grep { !ref && -d } @INC;
    exec 'unshare', '-n', '-m', '--propagation', 'private', $^X, @inc, $0, @ARGV;
    die "unshare: $!\n";
}

sub _setup {
    socket my $sock, AF_INET, SOCK_DGRAM, 0 or die "socket: $!";
    my ($SIOCSIFFLAGS, $IFF_UP) = (0x8914, 0x1);
    my $request = pack 'Z16 s x22', 'lo', $IFF_UP;
    ioctl $sock, $SIOCSIFFLAGS, $request or die "lo cannot be set up: $!";
}

# Makes TEXT the namespace's /etc/resolv.conf. Later calls write to the same file, so that a watcher
# sees its time change and nothing else: in one piece, and never a file that is shorter or empty.
my $file;

sub resolv_conf {
    my ($dir, $text) = @_;
    my $is_new = !$file;
    $file //= "$dir/resolv.conf";
    my $size = -s $file || 0;
    $text .= "\n" x ($size - length $text) if $size > length $text;
    sysopen my $fh, $file, O_WRONLY | O_CREAT, 0644 or die "$file: $!";
    syswrite($fh, $text) == length $text or die "$file: $!";
    close $fh;
    return if !$is_new;
    system('mount', '--bind', $file, '/etc/resolv.conf') == 0 or die "mount on /etc/resolv.conf failed";
}

1;
