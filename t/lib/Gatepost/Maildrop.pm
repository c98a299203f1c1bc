# SPDX-License-Identifier: ISC
# An instance with sendmail and the set-gid helper as make install puts them, where anybody can run
# them, and what a test does to files of its maildrop. Needs root.
#
#   my $drop = Gatepost::Maildrop->new(relayhost => ..., ...);    # main.cf
#   $drop->gp->start;
#   my ($status, $out) = $drop->sendmail('nobody', "Subject: x\n\nx\n", '-f', 'me@x.test', 'r@y.test');
#   $drop->files;                                    # names
#   $drop->put($bytes, name => ..., uid => ...);     # a file as the helper would leave it
#   $drop->changed($bytes, 'from', 'to');            # other bytes with the checksum of those
package Gatepost::Maildrop;
use strict;
use warnings;
use Gatepost::Instance;
use Gatepost::Kit;

my @crc = map { my $c = $_; $c = $c & 1 ? 0x82F63B78 ^ ($c >> 1) : $c >> 1 for 1 .. 8; $c } 0 .. 255;
sub crc32c { my $c = 0xFFFFFFFF; $c = $crc[($c ^ $_) & 0xFF] ^ ($c >> 8) for unpack 'C*', $_[0]; return $c ^ 0xFFFFFFFF }

sub new {
    my ($class, %main) = @_;
    my $self = bless { top => tempdir('drop'), n => 0 }, $class;
    my $libexec = "$self->{top}/libexec";
    mkdir $_ for $libexec, "$self->{top}/sbin";
    $self->{gp} = Gatepost::Instance->new(main => { daemon_directory => $libexec, %main }, services => undef);
    symlink $_, "$libexec/" . s{.*/}{}r for grep { !m{/maildrop$} } glob build() . '/libexec/*';
    run_ok('the helper', 'cp', '-L', build() . '/libexec/maildrop', build() . '/sbin/sendmail', $self->{top});
    rename "$self->{top}/maildrop", $self->helper or die $!;
    chown 0, scalar(getgrnam 'gp-drop'), $self->helper;
    chmod 02755, $self->helper;
    chmod 0755, $self->{gp}->dir;
    return $self;
}

sub gp     { $_[0]{gp} }
sub top    { $_[0]{top} }
sub helper { "$_[0]{top}/libexec/maildrop" }
sub dir    { $_[0]{gp}->queue . '/maildrop' }
sub files  { map {s{.*/}{}r} glob $_[0]->dir . '/*' }

sub as {
    my ($self, $user, $input, @cmd) = @_;
    my $file = spew("$self->{top}/input", $input);
    return run_out('setpriv', '--reuid', $user, '--regid', 'nogroup', '--clear-groups', 'sh', '-c',
        'exec "$@" <' . $file, 'sh', @cmd);
}

sub sendmail {
    my ($self, $user, $input, @args) = @_;
    return $self->as($user, $input, "$self->{top}/sendmail", '-C', $self->{gp}->dir, @args);
}

# cleanup looks for files.
sub ring {
    my ($self) = @_;
    open my $fh, '>', $self->{gp}->queue . '/public/pickup' or die $!;
    syswrite $fh, 'W';
}

sub token { sprintf '%024X', ++$_[0]{n} }

sub put {
    my ($self, $bytes, %arg) = @_;
    my ($new, $name) = ("$self->{top}/put", $arg{name} // 'drop.' . $self->token);
    spew($new, $bytes);
    chown $arg{uid} // 65534, -1, $new;
    chmod 0644, $new;
    rename $new, $self->dir . "/$name" or run_ok('mv', 'mv', $new, $self->dir . "/$name");
    chmod 0744, $self->dir . "/$name";
    $self->ring;
    return $name;
}

sub changed {
    my ($self, $bytes, $from, $to) = @_;
    my $copy = substr $bytes, 0, -4;
    die "$from is not there" if $copy !~ s/\Q$from\E/$to/;
    return $copy . pack 'V', crc32c($copy);
}

sub cleanups { @{ $_[0]{gp}->roles->{cleanup} // [] } }

# Right behind a start: so many must be there when one is to be killed, so that none comes beside those
# that are watched.
sub count_cleanups { $_[0]{workers} = () = $_[0]->cleanups }

# The system call at whose entry every cleanup is killed, and which one of that name, while CODE leaves
# a file. Whether one has died.
sub killed_at {
    my ($self, $call, $when, $code) = @_;
    my @all = ();
    wait_until(20, sub { @all = $self->cleanups; @all >= ($self->{workers} // 1) });
    my %watch = map { $_ => spawn({ out => "$self->{top}/strace.$_" }, 'strace', '-qq',
        $call eq 'fdatasync' ? () : ('-P', $self->dir), '-e', "trace=$call",
        '-e', "inject=$call:error=EIO:signal=KILL:when=$when", '-p', $_) } @all;
    wait_until(10, sub { !grep { (slurp("/proc/$_/status") // '') !~ /^TracerPid:\s+[1-9]/m } keys %watch });
    $code->();
    my $died = wait_until(10, sub { grep { !is_alive($_) } keys %watch }) ? 1 : 0;
    stop_pid($_, 'KILL') for values %watch;
    return $died;
}

1;
