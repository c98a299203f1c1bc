# SPDX-License-Identifier: ISC
# The ledger: clients that note what became of every recipient they sent, a sink that notes what it
# took, and the check that no acknowledged message is lost, none silently doubled, none changed.
#
#   my $ledger = Gatepost::Ledger->new(seed => 1, sizes => [400, 9000]);
#   $ledger->sink;                            # a Gatepost::Sink to relay to
#   $ledger->run($gp, clients => 3);          # child processes, until
#   $ledger->finish;                          # they have ended
#   $ledger->verify($gp);                     # tests
#
# Mail from probe@... is left out of the account; it may be sent at any time.
# Recipients whose address begins with "bad" are refused by the sink: each owes the sender one bounce.
package Gatepost::Ledger;
use strict;
use warnings;
use Digest::SHA qw(sha1_hex);
use Gatepost::Kit;
use Gatepost::Sink;
use Gatepost::Smtp;
use POSIX ();
use Test::More ();
use Time::HiRes qw(sleep time);

sub new {
    my ($class, %arg) = @_;
    my $self = bless {
        seed => 1, sizes => [300, 6000], large => 0.03, bad => 0.03, slow => 0.15, pause => 0.02,
        dir => tempdir('ledger'), %arg, pids => [],
    }, $class;
    srand $self->{seed};
    my $slow = $self->{slow};
    $self->{sink} //= Gatepost::Sink->new(
        on => {
            rcpt => sub { $_[1] =~ /^<bad/ ? '550 5.1.1 no such user' : undef },
            # A reply that takes its time leaves room for a kill where nobody knows what was decided.
            dot => sub { rand() < $slow ? { reply => '250 2.0.0 Ok', delay => 0.05 + rand 0.15 } : undef },
        });
    return $self;
}

sub sink { $_[0]{sink} }

sub run {
    my ($self, $gp, %arg) = @_;
    for my $nr (1 .. $arg{clients} // 3) {
        my $label = 'c' . ++$self->{clients};
        defined(my $pid = fork) or die "fork: $!";
        if (!$pid) {
            Gatepost::Kit::default_signals();
            srand $self->{seed} * 1000 + $self->{clients};
            eval { $self->_client($gp, $label); 1 } or print STDERR "client: $@";
            POSIX::_exit(0);
        }
        Gatepost::Kit::adopt($pid);
        push @{ $self->{pids} }, $pid;
    }
    return;
}

sub finish {
    my ($self) = @_;
    spew("$self->{dir}/stop", '1');
    for my $pid (@{ $self->{pids} }) {
        waitpid $pid, 0;
    }
    unlink "$self->{dir}/stop";
    $self->{pids} = [];
}

# A line a recipient list: outcome, time, token, digest, recipients.
sub _note {
    my ($fh, $outcome, $m) = @_;
    printf $fh "%s %.3f %s %s %s\n", $outcome, time, @$m{qw(token digest)}, join ',', @{ $m->{rcpts} };
}

sub _message {
    my ($self, $label, $serial) = @_;
    my $token = "$label-$serial";
    my ($min, $max) = @{ $self->{sizes} };
    my $size = rand() < $self->{large} ? 260_000 + int rand 200_000 : $min + int rand($max - $min);
    my $body = '';
    $body .= join('', map { chr(33 + rand 90) } 1 .. 60) . "\r\n" while length $body < 1500 && length $body < $size;
    $body = $body x (1 + $size / length $body) if length $body < $size;
    my @rcpts = map { (rand() < $self->{bad} ? 'bad' : 'to') . "-$token-$_\@next.test" } 1 .. 1 + int rand 3;
    my $content = "From: <s-$token\@client.test>\r\nTo: list\@next.test\r\n"
        . "Date: Sat, 21 Nov 2026 10:00:00 +0000\r\nMessage-ID: <$token\@client.test>\r\n\r\n.$body";
    return { token => $token, rcpts => \@rcpts, content => $content, digest => sha1_hex($content),
        from => "s-$token\@client.test" };
}

sub _client {
    my ($self, $gp, $label) = @_;
    open my $fh, '>>', "$self->{dir}/$label" or die $!;
    $fh->autoflush(1);
    my $serial = 0;
    until (-e "$self->{dir}/stop") {
        my $c = $gp->client(timeout => 15);
        if (!$c || !$c->hello) { sleep 0.03; next }
        for (1 .. 1 + int rand 8) {
            my $m = $self->_message($label, ++$serial);
            my $outcome = _send($c, $m);
            _note($fh, $outcome, $m);
            last if $outcome =~ /^(?:maybe|unsent)$/;
            sleep rand 2 * $self->{pause};
            last if -e "$self->{dir}/stop";
        }
        $c->close;
    }
    close $fh;
}

# What became of one message: acked, refused, maybe (no reply to the end), unsent. Recipients that
# were refused at RCPT are taken out of it.
sub _send {
    my ($c, $m) = @_;
    my $r = $c->cmd("MAIL FROM:<$m->{from}>");
    return $r->{code} ? 'refused' : 'unsent' if $r->{code} != 250;
    my @good;
    for my $rcpt (@{ $m->{rcpts} }) {
        $r = $c->cmd("RCPT TO:<$rcpt>");
        return 'unsent' if !$r->{code};
        push @good, $rcpt if $r->{code} == 250;
    }
    $m->{rcpts} = \@good if @good;
    return 'refused' if !@good;
    $r = $c->cmd('DATA');
    return $r->{code} ? 'refused' : 'unsent' if $r->{code} != 354;
    $c->send(Gatepost::Smtp::dot_stuff($m->{content}) . ".\r\n");
    $r = $c->reply;
    return !$r->{code} ? 'maybe' : $r->{code} == 250 ? 'acked' : 'refused';
}

# { token => { outcome, time, digest, rcpts } }
sub entries {
    my ($self) = @_;
    my %all;
    for my $file (glob "$self->{dir}/c*") {
        for (split /\n/, slurp($file)) {
            my ($outcome, $time, $token, $digest, $rcpts) = split / /;
            $all{$token} = { outcome => $outcome, time => $time, digest => $digest,
                rcpts => [split /,/, $rcpts // ''] };
        }
    }
    return \%all;
}

sub count {
    my ($self, $outcome) = @_;
    return scalar grep { $_->{outcome} eq $outcome } values %{ $self->entries };
}

sub strip_trace {
    my ($content) = @_;
    1 while $content =~ s/\A(?:Received|Return-Path|Delivered-To|X-Original-To): [^\r\n]*\r\n(?:[ \t][^\r\n]*\r\n)*//;
    return $content;
}

# { address => [log times in seconds] } of the lines that say "in doubt".
sub doubts {
    my ($self, $gp) = @_;
    my (%doubt, $year);
    $year = (localtime)[5];
    my %month; @month{qw(Jan Feb Mar Apr May Jun Jul Aug Sep Oct Nov Dec)} = 0 .. 11;
    for (split /\n/, slurp($gp->{log}) // '') {
        /^(\w{3}) +(\d+) (\d+):(\d+):(\d+) .* to=<([^>]*)>: in doubt: / or next;
        push @{ $doubt{$6} }, POSIX::mktime($5, $4, $3, $2, $month{$1}, $year, 0, 0, -1);
    }
    return \%doubt;
}

# The tests. Everything must have left the queue before.
sub verify {
    my ($self, $gp) = @_;
    local $Test::Builder::Level = $Test::Builder::Level + 1;
    my $entries = $self->entries;
    my (%copies, %bounces, @changed, @phantom);
    for my $m ($self->sink->messages) {
        if ($m->{from} eq '') {
            push @{ $bounces{$_} }, $m->{came}
                for $m->{content} =~ /^Final-Recipient: rfc822; ?(\S+?)\r?$/mgi;
            next;
        }
        next if $m->{from} =~ /^probe\@/;
        my ($token) = $m->{content} =~ /^Message-ID: <([^@]+)/m;
        my $e = $entries->{ $token // '' };
        push @changed, $token // "message $m->{nr}"
            if !$e || sha1_hex(strip_trace($m->{content})) ne $e->{digest};
        push @{ $copies{$_} }, $m->{came} for @{ $m->{rcpts} };
    }
    my $doubt = $self->doubts($gp);
    my (@lost, @silent, @unowed);
    my ($doubled, @seconds) = (0);
    for my $token (sort keys %$entries) {
        my $e = $entries->{$token};
        for my $rcpt (@{ $e->{rcpts} }) {
            my $got = ($rcpt =~ /^bad/ ? $bounces{$rcpt} : $copies{$rcpt}) // [];
            push @lost, $rcpt if $e->{outcome} eq 'acked' && !@$got;
            push @phantom, "$rcpt ($e->{outcome})" if $e->{outcome} =~ /^(?:refused|unsent)$/ && @$got;
            push @unowed, $rcpt if $rcpt !~ /^bad/ && $bounces{$rcpt};
            # A bounce is a message of its own: in doubt is its recipient, the sender.
            my $said = $doubt->{ $rcpt =~ /^bad/ ? "s-$token\@client.test" : $rcpt } // [];
            my @times = sort { $a <=> $b } @$got;
            $doubled += @times - 1 if @times > 1;
            push @seconds, { rcpt => $rcpt, token => $token, times => \@times } if @times > 1;
            for my $n (1 .. $#times) {
                # The n-th extra copy needs n lines that were written before it was taken.
                my $before = grep { $_ <= $times[$n] + 1 } @$said;
                push @silent, "$rcpt (copy " . ($n + 1) . ", $before in doubt)" if $before < $n;
            }
        }
    }
    my $acked = grep { $_->{outcome} eq 'acked' } values %$entries;
    Test::More::cmp_ok($acked, '>', 0, "messages were acknowledged ($acked of " . keys(%$entries) . ')');
    _none('no acknowledged recipient is lost', @lost);
    _none('none got a second copy without "in doubt" in the log', @silent);
    _none('no message was changed', @changed);
    _none('nothing refused was delivered', @phantom);
    _none('nothing was bounced without reason', @unowed);
    Test::More::note("$doubled second copies, each in doubt before; "
        . scalar(map {@$_} values %$doubt) . ' doubts logged');
    return { acked => $acked, doubled => $doubled, seconds => \@seconds };
}

sub _none {
    my ($name, @bad) = @_;
    local $Test::Builder::Level = $Test::Builder::Level + 1;
    Test::More::is(scalar @bad, 0, $name) or Test::More::diag(join "\n", @bad > 10 ? (@bad[0 .. 9], '...') : @bad);
}

1;
