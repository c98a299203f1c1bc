# SPDX-License-Identifier: ISC
# A scripted SMTP or LMTP server in a child process. What it accepts is on disk, in its directory,
# before it says 250, so that a ledger can rely on it.
#
#   my $sink = Gatepost::Sink->new(
#       port => $p, addr => '127.0.0.1',        # or path => '/tmp/x/lmtp'; lmtp => 1
#       keywords => ['PIPELINING', '8BITMIME'], # what EHLO advertises
#       on => { rcpt => sub { my ($s, $arg) = @_; $arg =~ /bad/ ? '550 5.1.1 no' : undef } });
#   my @m = $sink->messages;    # { from, mail, rcpts, rcpt, content, helo, session, time, came }
#
# time is when the sink took the message, came when its last byte was with the kernel: a sink that
# has much to do takes it later.
#
# Handlers run in the child at the stages connect, ehlo, helo, mail, rcpt, data, dot (once a
# message), lmtpdot (once a recipient), rset, noop, quit, and any other command's lower-case name.
# They get the session and the argument and return: undef (go on as usual), a reply, or a hash
# { reply => '421 ..', delay => seconds, drop => 1 (close after the reply), reset => 1 (RST) }.
# The test sets $sink->flag("down", 1), a handler asks $s->{sink}->is_set("down").
package Gatepost::Sink;
use strict;
use warnings;
use Errno qw(EAGAIN EINTR);
use Gatepost::Kit;
use IO::Select;
use IO::Socket::INET;
use IO::Socket::IP;
use IO::Socket::UNIX;
use POSIX ();
use Socket qw(IPPROTO_TCP SOL_SOCKET SO_LINGER TCP_INFO);
use Time::HiRes qw(time);

my @DEFAULT_KEYWORDS = qw(PIPELINING 8BITMIME SIZE DSN ENHANCEDSTATUSCODES SMTPUTF8 CHUNKING);

sub new {
    my ($class, %arg) = @_;
    my $self = bless {%arg}, $class;
    $self->{dir}  //= tempdir('sink');
    $self->{addr} //= '127.0.0.1';
    $self->{port} //= free_port($self->{addr}) if !$self->{path};
    $self->{name} //= 'sink.example';
    $self->{keywords} //= [@DEFAULT_KEYWORDS];
    $self->{on} //= {};
    $self->start;
    return $self;
}

sub port { $_[0]{port} }
sub dir  { $_[0]{dir} }
sub pid  { $_[0]{pid} }

sub start {
    my ($self) = @_;
    my $listen;
    wait_until(10, sub { $listen = $self->_listen }) or die "sink cannot listen: $!\n";
    defined(my $pid = fork) or die "fork: $!";
    if (!$pid) {
        eval { $self->_serve($listen); 1 } or print STDERR "sink: $@";
        POSIX::_exit(0);
    }
    Gatepost::Kit::adopt($pid);
    $self->{pid} = $pid;
    return $self;
}

# The server goes away with all its sessions; start() brings it back on the same address.
sub stop {
    my ($self) = @_;
    return if !$self->{pid};
    stop_pid(delete $self->{pid}, 'KILL');
    unlink $self->{path} if $self->{path};
    return $self;
}

sub flag {
    my ($self, $name, $value) = @_;
    my $file = "$self->{dir}/flag.$name";
    if ($value) { spew($file, '1') }
    else        { unlink $file }
    return;
}

sub _listen {
    my ($self) = @_;
    if ($self->{path}) {
        unlink $self->{path};
        my $old = umask 0;
        my $sock = IO::Socket::UNIX->new(Local => $self->{path}, Listen => 1024);
        umask $old;
        return $sock;
    }
    return IO::Socket::IP->new(LocalAddr => $self->{addr}, LocalPort => $self->{port},
        Proto => 'tcp', Listen => 1024, ReuseAddr => 1);
}

# Messages in the order of their acceptance. NEWER leaves out the first ones.
sub messages {
    my ($self, $newer) = @_;
    my @all;
    opendir my $dh, $self->{dir} or return;
    my @nrs = sort { $a <=> $b } map { /^msg\.(\d+)\.env$/ ? $1 : () } readdir $dh;
    splice @nrs, 0, $newer if $newer;
    for my $nr (@nrs) {
        my %m = (nr => $nr, rcpts => [], rcpt => [], path => "$self->{dir}/msg.$nr.eml");
        for (split /\n/, slurp("$self->{dir}/msg.$nr.env")) {
            my ($key, $value) = split / /, $_, 2;
            if ($key eq 'rcpt') {
                push @{ $m{rcpt} }, $value;
                push @{ $m{rcpts} }, $value =~ /^<([^>]*)>/ ? $1 : $value;
            } else {
                $m{$key} = $value;
            }
        }
        $m{from}    = $m{mail} =~ /^<([^>]*)>/ ? $1 : $m{mail};
        $m{content} = slurp($m{path});
        push @all, \%m;
    }
    return @all;
}

sub count {
    my ($self) = @_;
    opendir my $dh, $self->{dir} or return 0;
    return scalar grep {/^msg\.\d+\.env$/} readdir $dh;
}

# Waits until there are N messages; returns them, or what there is after SECONDS.
sub wait_messages {
    my ($self, $n, $seconds) = @_;
    wait_until($seconds // 20, sub { $self->count >= $n });
    return $self->messages;
}

# The dialogue so far, one line each: time, session, C: or S:, text.
sub log { slurp("$_[0]{dir}/log") // '' }

sub sessions {
    my ($self) = @_;
    return scalar(() = $self->log =~ / connect$/mg);
}

# ---- the child ----

sub _serve {
    my ($self, $listen) = @_;
    Gatepost::Kit::default_signals();
    $SIG{PIPE} = 'IGNORE';
    open my $log, '>>', "$self->{dir}/log" or die "log: $!";
    $log->autoflush(1);
    $self->{logfh} = $log;
    $self->{next}  = $self->count;
    $listen->blocking(0);
    my %sessions;
    my $serial = time;
    while (1) {
        my $rin = '';
        my $win = '';
        my $timeout = 1;
        vec($rin, fileno $listen, 1) = 1;
        for my $s (values %sessions) {
            if (defined $s->{until}) {
                my $left = $s->{until} - time;
                $timeout = $left > 0 ? $left : 0 if $left < $timeout;
                next;
            }
            vec($rin, fileno $s->{sock}, 1) = 1;
            vec($win, fileno $s->{sock}, 1) = 1 if length $s->{out};
        }
        my $n = select $rin, $win, undef, $timeout;
        next if $n < 0;
        if (vec $rin, fileno $listen, 1) {
            while (my $sock = $listen->accept) {
                $sock->blocking(0);
                my $s = { sock => $sock, id => ++$serial, in => '', out => '', state => 'cmd',
                    sink => $self, peer => $self->{path} ? '' : $sock->peerhost };
                $sessions{ fileno $sock } = $s;
                $self->_log($s, 'connect');
                $self->_answer($s, 'connect', '', "220 $self->{name} ESMTP sink");
            }
        }
        for my $fd (keys %sessions) {
            my $s = $sessions{$fd};
            if (defined $s->{until} && time >= $s->{until}) {
                delete $s->{until};
                $self->_emit($s, @{ delete $s->{held} });
            }
            next if defined $s->{until};
            $self->_read($s) if vec $rin, $fd, 1;
            $self->_process($s);
            $self->_write($s) if length $s->{out};
            if ($s->{gone} || ($s->{drop} && !length $s->{out})) {
                setsockopt $s->{sock}, SOL_SOCKET, SO_LINGER, pack('ii', 1, 0) if $s->{reset};
                $self->_log($s, 'close');
                close $s->{sock};
                delete $sessions{$fd};
            }
        }
    }
}

sub _log {
    my ($self, $s, $text) = @_;
    printf { $self->{logfh} } "%.6f %s %s\n", time, $s->{id}, $text;
}

sub _read {
    my ($self, $s) = @_;
    my $n = sysread $s->{sock}, $s->{in}, 262144, length $s->{in};
    $s->{gone} = 1 if defined $n ? $n == 0 : ($! != EAGAIN && $! != EINTR);
}

sub _write {
    my ($self, $s) = @_;
    my $n = syswrite $s->{sock}, $s->{out};
    if   (defined $n)                       { substr $s->{out}, 0, $n, '' }
    elsif ($! != EAGAIN && $! != EINTR)     { $s->{gone} = 1; $s->{out} = '' }
}

# Asks the script, then answers with DEFAULT. True when the usual course goes on.
sub _answer {
    my ($self, $s, $stage, $arg, $default) = @_;
    my $answer;
    if (my $code = $self->{on}{$stage}) { $answer = $code->($s, $arg) }
    my %a = ref $answer ? %$answer : defined $answer ? (reply => $answer) : ();
    my $reply = $a{reply} // ($a{drop} || $a{reset} ? '' : $default);
    if ($a{delay}) {
        $s->{until} = time + $a{delay};
        $s->{held}  = [$reply, \%a];
    } else {
        $self->_emit($s, $reply, \%a);
    }
    return !length $reply ? 0 : $reply =~ /^[23]/;
}

sub _emit {
    my ($self, $s, $reply, $a) = @_;
    if (length $reply) {
        $self->_log($s, "S: $_") for split /\r?\n/, $reply;
        $reply .= "\r\n" if $reply !~ /\r\n\z/;
        $s->{out} .= $reply;
    }
    @$s{qw(drop reset)} = (1, $a->{reset}) if $a->{drop} || $a->{reset};
}

sub is_set { -e "$_[0]{dir}/flag.$_[1]" }

sub _process {
    my ($self, $s) = @_;
    while (!$s->{drop} && !defined $s->{until}) {
        if ($s->{state} eq 'data') { $self->_data($s) or last; next }
        if ($s->{state} eq 'bdat') { $self->_bdat($s) or last; next }
        $s->{in} =~ s/^([^\n]*)\n// or last;
        my $line = $1;
        $line =~ s/\r$// or $self->_log($s, 'BARE-LF');
        $self->_log($s, "C: $line");
        $self->_command($s, $line);
        if (length $s->{in} && !$s->{pipelining} && $s->{state} eq 'cmd') {
            $self->_log($s, 'UNASKED-PIPELINING');
        }
    }
}

sub _begin { my ($s) = @_; @$s{qw(mail rcpts content chunk scan)} = (undef, [], '', 0, 0) }

sub _command {
    my ($self, $s, $line) = @_;
    my ($verb, $arg) = $line =~ /^(\S*)\s*(.*)$/;
    $verb = lc $verb;
    if ($verb =~ /^(?:ehlo|lhlo|helo)$/) {
        $s->{helo} = $arg;
        _begin($s);
        my @words = $verb eq 'helo' ? () : @{ $self->{keywords} };
        $s->{pipelining} = grep { $_ eq 'PIPELINING' } @words;
        my @lines = ($self->{name}, @words);
        my $last = pop @lines;
        my $text = join '', (map {"250-$_\r\n"} @lines), "250 $last";
        $self->_answer($s, $verb eq 'lhlo' ? 'ehlo' : $verb, $arg, $text);
    } elsif ($verb eq 'mail') {
        my ($rest) = $arg =~ /^FROM:\s*(.*)$/i;
        _begin($s);
        $s->{mail} = $rest if $self->_answer($s, 'mail', $rest, '250 2.1.0 Ok');
    } elsif ($verb eq 'rcpt') {
        my ($rest) = $arg =~ /^TO:\s*(.*)$/i;
        my $default = defined $s->{mail} ? '250 2.1.5 Ok' : '503 5.5.1 need MAIL';
        push @{ $s->{rcpts} }, $rest
            if $self->_answer($s, 'rcpt', $rest, $default) && defined $s->{mail};
    } elsif ($verb eq 'data') {
        my $default = @{ $s->{rcpts} // [] } ? '354 go' : '554 5.5.1 no valid recipients';
        $s->{state} = 'data' if $self->_answer($s, 'data', '', $default) && @{ $s->{rcpts} };
    } elsif ($verb eq 'bdat') {
        my ($size, $last) = $arg =~ /^(\d+)\s*(LAST)?$/i;
        @$s{qw(state chunk last)} = ('bdat', $size, $last);
    } elsif ($verb eq 'rset') {
        _begin($s);
        $self->_answer($s, 'rset', '', '250 2.0.0 Ok');
    } elsif ($verb eq 'quit') {
        $self->_answer($s, 'quit', '', '221 2.0.0 Bye');
        $s->{drop} = 1 if !defined $s->{until};
    } else {
        my $default = $verb =~ /^(?:noop|vrfy)$/ ? '250 2.0.0 Ok' : '502 5.5.2 what?';
        $self->_answer($s, $verb, $arg, $default);
    }
}

sub _data {
    my ($self, $s) = @_;
    if ($s->{in} =~ /\A\.\r\n/) {
        $s->{content} = '';
    } else {
        my $end = index $s->{in}, "\r\n.\r\n", $s->{scan};
        if ($end < 0) {
            my $length = length $s->{in};
            $s->{scan} = $length > 4 ? $length - 4 : 0;
            return 0;
        }
        $s->{content} = substr $s->{in}, 0, $end + 2, '';
    }
    substr $s->{in}, 0, 3, '';
    $s->{content} =~ s/(\A|\r\n)\./$1/g;
    $s->{state} = 'cmd';
    $self->_finish($s);
    return 1;
}

sub _bdat {
    my ($self, $s) = @_;
    my $take = $s->{chunk} < length $s->{in} ? $s->{chunk} : length $s->{in};
    $s->{content} .= substr $s->{in}, 0, $take, '';
    $s->{chunk} -= $take;
    return 0 if $s->{chunk};
    $s->{state} = 'cmd';
    if (!@{ $s->{rcpts} // [] }) { $self->_answer($s, 'bdat', '', '503 5.5.1 no transaction') }
    elsif ($s->{last})           { $self->_finish($s) }
    else                         { $self->_answer($s, 'bdat', '', '250 2.0.0 Ok') }
    return 1;
}

sub _finish {
    my ($self, $s) = @_;
    if (!$self->{lmtp}) {
        my $nr = $self->_store($s, $s->{rcpts}, 'try');
        my $good = $self->_answer($s, 'dot', $s->{content}, "250 2.0.0 Ok: queued as S$nr");
        $self->_keep($nr, $good);
    } else {
        my @kept;
        for my $rcpt (@{ $s->{rcpts} }) {
            my $code = $self->{on}{lmtpdot};
            my $answer = $code ? $code->($s, $rcpt) : undef;
            my $reply = ref $answer ? $answer->{reply} // '' : $answer // '250 2.0.0 Ok';
            push @kept, $rcpt if $reply =~ /^2/;
            push @{ $s->{replies} }, [$reply, ref $answer ? $answer : {}];
        }
        $self->_keep($self->_store($s, \@kept, 'try'), 1) if @kept;
        $self->_emit($s, @$_) for @{ delete $s->{replies} };
    }
    _begin($s);
}

# Written under a name that nobody reads; _keep makes it count, before the reply leaves.
sub _store {
    my ($self, $s, $rcpts) = @_;
    my $nr = ++$self->{next};
    spew("$self->{dir}/msg.$nr.eml", $s->{content});
    spew("$self->{dir}/msg.$nr.try", join '', map {"$_\n"} "session $s->{id}",
        'time ' . time, 'came ' . $self->_came($s), 'helo ' . ($s->{helo} // ''), "mail $s->{mail}", "peer $s->{peer}",
        map {"rcpt $_"} @$rcpts);
    return $nr;
}

sub _came {
    my ($self, $s) = @_;
    my $now = time;
    my $info = $self->{path} ? undef : getsockopt $s->{sock}, IPPROTO_TCP, TCP_INFO;
    # tcpi_last_data_recv, in milliseconds
    return defined $info && length $info >= 56 ? $now - unpack('x52 L', $info) / 1000 : $now;
}

sub _keep {
    my ($self, $nr, $good) = @_;
    my $base = "$self->{dir}/msg.$nr";
    if ($good) { rename "$base.try", "$base.env" }
    else       { unlink "$base.try", "$base.eml" }
}

1;
