# SPDX-License-Identifier: ISC
# How slow the machine is, so that a bound in seconds means the program and not what else runs here.
# A child does the same small piece of work again and again: it starts a program of ours to its end,
# and writes and syncs a block. How long that took in a span of time, against the best of the whole
# test, is how far a bound on that span is stretched. On a machine with nothing else to do it is 1.
#
#   my $pace = Gatepost::Pace->new;
#   cmp_ok($took, '<', 2 * $pace->stretch($from, $to), 'within 2 s');
#   ok($pace->within(2, $from), 'the same, until now');
package Gatepost::Pace;
use strict;
use warnings;
use Gatepost::Kit;
use IO::Handle;
use POSIX ();
use Time::HiRes qw(sleep time);

use constant { STARTS => 3, PAUSE => 0.2, FIRST => 5 };

sub new {
    my ($class) = @_;
    my $self = bless { file => tempdir('pace') . '/pace' }, $class;
    defined(my $pid = fork) or die "fork: $!";
    if (!$pid) {
        Gatepost::Kit::default_signals();
        $self->_measure;
        POSIX::_exit(0);
    }
    Gatepost::Kit::adopt($pid);
    wait_until(30, sub { FIRST <= $self->_rows }) or die "nothing was measured\n";
    return $self;
}

sub _measure {
    my ($self) = @_;
    open my $out, '>', $self->{file} or die "$self->{file}: $!";
    $out->autoflush(1);
    while (getppid > 1) {
        my $from = time;
        $self->_work;
        printf $out "%.4f %.4f\n", $from, time;
        sleep PAUSE;
    }
}

sub _work {
    my ($self) = @_;
    for (1 .. STARTS) {
        defined(my $pid = fork) or next;
        if (!$pid) {
            open STDOUT, '>', '/dev/null';
            { no warnings; exec build() . '/smtpd/smtpd', '--version'; }
            POSIX::_exit(127);
        }
        waitpid $pid, 0;
    }
    open my $fh, '>', "$self->{file}.block" or return;
    print $fh 'x' x 4096;
    $fh->flush;
    $fh->sync;
}

sub _rows {
    my ($self) = @_;
    return map { [split] } grep {/^\S+ \S+$/} split /\n/, slurp($self->{file}) // '';
}

sub within {
    my ($self, $seconds, $from) = @_;
    my $to = time;
    return $to - $from <= $seconds || $to - $from <= $seconds * $self->stretch($from, $to);
}

# 1 or more, over the time from FROM to TO.
sub stretch {
    my ($self, $from, $to) = @_;
    # One that has not ended says something, too: it is waited for.
    wait_until(30, sub { my @r = $self->_rows; @r && $r[-1][0] >= $to });
    my @rows = $self->_rows;
    my ($best) = sort { $a <=> $b } map { $_->[1] - $_->[0] } @rows;
    my @in = grep { $_->[1] >= $from && $_->[0] <= $to } @rows;
    my $sum = 0;
    $sum += $_->[1] - $_->[0] for @in;
    return 1 if !@in || !$best || $sum / @in < $best;
    return $sum / @in / $best;
}

1;
